package rest

// ProblemDoc explains one code.
type ProblemDoc struct {
	Code   string
	Status int
	Doc    string
	Next   string
}

// Problems lists every code that a client can meet, in order of code. It is
// the page /docs/problems, to which the type of every problem points.
var Problems = []ProblemDoc{
	{"address_taken", 409, "The address is held by another port.", "Leave it out for a free one."},
	{"being_deleted", 409, "The resource is being deleted and cannot be changed.", "Wait until it is gone, then make a new one."},
	{"body_too_large", 413, "The body is larger than 1 MiB.", "Send less; the bytes of an image go to its /data."},
	{"body_unreadable", 400, "The body did not arrive whole.", "Send it again."},
	{"cancelled", 499, "The client went away before the answer.", "Nothing: nobody reads this."},
	{"cursor_expired", 410, "The revision that the list shows is no longer at hand.", "List again from the start."},
	{"duplicate_field", 400, "A JSON object has a key twice.", "Give it once."},
	{"forbidden", 403, "Your role does not allow that.", "The hint says which role does; ask for it."},
	{"history_compacted", 410, "The history of changes does not go back to where the watch is to begin.", "List again, and watch from the list's revision."},
	{"idempotency_key_reused", 409, "The Idempotency-Key was used for another request.", "Use a new key for every new request."},
	{"image_not_ready", 409, "The image has no bytes yet.", "Wait until its state is ready."},
	{"in_use", 409, "Other resources refer to it.", "Delete those first; the detail names some."},
	{"instance_is_off", 409, "The instance is to be off.", "Start it."},
	{"internal", 500, "Something went wrong inside Cairn.", "Look for the incident's ID in the controller's log."},
	{"invalid_cursor", 400, "The cursor does not belong to this list.", "Use next_cursor as it was given, with the same filter."},
	{"invalid_header", 400, "A header has a value that it cannot have.", "The detail says what it takes."},
	{"invalid_json", 400, "The body is not JSON.", "Send one JSON value in UTF-8."},
	{"invalid_parameter", 400, "A query parameter has a value that it cannot have.", "The detail says what it takes."},
	{"invalid_value", 422, "A field has a value that it cannot have.", "The field and the detail say which and why."},
	{"mac_taken", 409, "The MAC address is held by another port of the network.", "Leave it out."},
	{"method_not_allowed", 405, "The method is not possible on this path.", "See /docs."},
	{"missing_field", 422, "A required field is absent.", "Give it."},
	{"name_taken", 409, "Another resource of the kind in the project has the name.", "Choose another name."},
	{"no_such_route", 404, "Nothing is at this path.", "See /docs."},
	{"not_found", 404, "There is no such resource, or you may not know of it.", "List them."},
	{"not_your_host", 403, "A host's certificate opens only that host's own routes.", "Use a token, or the right certificate."},
	{"precondition_failed", 412, "The resource was changed since you read it.", "Get it again and repeat the change."},
	{"read_only", 422, "The field is given by Cairn.", "Leave it out, or send it as it is."},
	{"unauthenticated", 401, "There is no valid token or certificate with the request.", "Send Authorization: Bearer with a token that is not deleted or expired."},
	{"unavailable", 503, "The control plane cannot answer now.", "Try again; nothing was changed, or an Idempotency-Key tells."},
	{"unknown_field", 422, "There is no such field.", "The hint names the nearest one."},
	{"unknown_parameter", 400, "There is no such query parameter.", "The hint names the nearest one."},
	{"unsupported_media_type", 415, "The body's Content-Type is not accepted.", "The hint says which is."},
	{"upload_offset_mismatch", 409, "The bytes do not begin where those that have arrived end.", "Go on from Upload-Offset in the answer."},
	{"vni_taken", 409, "The VXLAN identifier is held by another network.", "Try again: Cairn gives another."},
	{"wrong_type", 422, "A field has a value of the wrong JSON type.", "The hint says what it takes; numbers have no unit and no quotes."},
}
