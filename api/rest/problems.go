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
	{"address_out_of_range", 422, "The address is in none of the subnets in question.", "Leave it out for a free one."},
	{"address_taken", 409, "The address is held by another port.", "Leave it out for a free one."},
	{"architecture_mismatch", 422, "The image and the instance type are of different architectures.", "Choose an image and a type of one architecture."},
	{"being_deleted", 409, "The resource is being deleted and cannot be changed.", "Wait until it is gone, then make a new one."},
	{"body_too_large", 413, "The body is larger than 1 MiB.", "Send less; the bytes of an image go to its /data."},
	{"body_unreadable", 400, "The body did not arrive whole.", "Send it again."},
	{"cancelled", 499, "The client went away before the answer.", "Nothing: nobody reads this."},
	{"cursor_expired", 410, "The revision that the list shows is no longer at hand.", "List again from the start."},
	{"disk_too_small", 422, "The image is larger than the root disk of the instance type.", "Choose a type with a larger disk."},
	{"duplicate_field", 400, "A JSON object has a key twice.", "Give it once."},
	{"forbidden", 403, "Your role does not allow that.", "The hint says which role does; ask for it."},
	{"history_compacted", 410, "The history of changes does not go back to where the watch is to begin.", "List again, and watch from the list's revision."},
	{"host_alive", 409, "The host reports, so nothing need be given up by force.", "Delete without force, or stop the host's agent first."},
	{"host_unreachable", 503, "The agent of the host does not answer.", "Try again; look at the host's state."},
	{"idempotency_key_reused", 409, "The Idempotency-Key was used for another request.", "Use a new key for every new request."},
	{"image_failed", 422, "The image cannot be used.", "Choose another, or make it anew; its conditions say what is wrong with it."},
	{"image_not_ready", 409, "The image has no bytes yet.", "Wait until its state is ready."},
	{"immutable", 422, "The field cannot be changed once the resource exists.", "Make another resource."},
	{"in_use", 409, "Other resources refer to it.", "Delete those first; the detail names some."},
	{"instance_is_off", 409, "The instance is to be off.", "Start it."},
	{"internal", 500, "Something went wrong inside Cairn.", "Look for the incident's ID in the controller's log."},
	{"invalid_cursor", 400, "The cursor does not belong to this list.", "Use next_cursor as it was given, with the same filter."},
	{"invalid_header", 400, "A header has a value that it cannot have.", "The detail says what it takes."},
	{"invalid_json", 400, "The body is not JSON.", "Send one JSON value in UTF-8."},
	{"invalid_parameter", 400, "A query parameter has a value that it cannot have.", "The detail says what it takes."},
	{"invalid_value", 422, "A field has a value that it cannot have.", "The field and the detail say which and why."},
	{"join_token_expired", 403, "The join token expired.", "Make a new one."},
	{"join_token_invalid", 403, "There is no such join token, or it was not copied whole.", "Copy all of it, or make a new one."},
	{"join_token_used", 409, "A join token serves once, and this one was used.", "Make a new one for every host."},
	{"larger_than_any_host", 422, "No host could take the instance type, even if it were empty.", "Choose a smaller type, or add a larger host."},
	{"mac_taken", 409, "The MAC address is held by another port of the network.", "Leave it out."},
	{"method_not_allowed", 405, "The method is not possible on this path.", "See /docs."},
	{"missing_field", 422, "A required field is absent.", "Give it."},
	{"name_taken", 409, "Another resource of the kind in the project has the name.", "Choose another name."},
	{"network_without_subnet", 422, "The network has no subnet, so there are no addresses in it.", "Make a subnet in it first."},
	{"no_console_yet", 409, "The instance has not written to its console yet.", "Wait until it runs."},
	{"no_such_route", 404, "Nothing is at this path.", "See /docs."},
	{"not_found", 404, "There is no such resource, or you may not know of it.", "List them."},
	{"not_placed", 409, "The instance is on no host yet, so it has no console.", "Wait until it runs; its placement says why it does not."},
	{"not_your_host", 403, "A host's certificate opens only that host's own routes.", "Use a token, or the right certificate."},
	{"port_in_use", 409, "The port is a NIC of an instance.", "Choose a port that no instance has."},
	{"precondition_failed", 412, "The resource was changed since you read it.", "Get it again and repeat the change."},
	{"protected", 409, "The resource is protected against deletion.", "Set protected to false first, if you mean it."},
	{"quota_exceeded", 409, "The project may not use that much.", "Delete something, or ask a cloud administrator to raise the quota."},
	{"read_only", 422, "The field is given by Cairn.", "Leave it out, or send it as it is."},
	{"reference_not_found", 422, "What a field names is not there.", "List the kind to see what there is."},
	{"subnet_exhausted", 409, "All addresses for ports are taken.", "Delete ports that nobody needs, or add a subnet."},
	{"subnet_overlap", 409, "The range overlaps another subnet of the network.", "Choose a range beside it."},
	{"unauthenticated", 401, "There is no valid token or certificate with the request.", "Send Authorization: Bearer with a token that is not deleted or expired."},
	{"unavailable", 503, "The control plane cannot answer now.", "Try again; nothing was changed, or an Idempotency-Key tells."},
	{"unknown_field", 422, "There is no such field.", "The hint names the nearest one."},
	{"unknown_parameter", 400, "There is no such query parameter.", "The hint names the nearest one."},
	{"unsupported_media_type", 415, "The body's Content-Type is not accepted.", "The hint says which is."},
	{"upload_offset_mismatch", 409, "The bytes do not begin where those that have arrived end.", "Go on from Upload-Offset in the answer."},
	{"vni_exhausted", 409, "No free VXLAN identifier was found.", "Delete networks that nobody needs."},
	{"vni_taken", 409, "The VXLAN identifier is held by another network.", "Try again: Cairn gives another."},
	{"wrong_type", 422, "A field has a value of the wrong JSON type.", "The hint says what it takes; numbers have no unit and no quotes."},
}
