package api

// Controller is one process of the control plane. It is no resource: that it is
// there is seen, not wanted.
type Controller struct {
	Name  string `json:"name"`
	URL   string `json:"url,omitempty" doc:"Where it serves the API."`
	State State  `json:"state" enum:"ready,not_ready,pending" doc:"Pending: it joins, and has not caught up yet."`
	Leads bool   `json:"leads,omitempty" doc:"It places and reconciles."`
	// Member and PeerURL are of its etcd, where that is in the controllers.
	Member  string `json:"member,omitempty" doc:"ID of its part in the embedded etcd, hexadecimal. Absent where etcd is another process."`
	PeerURL string `json:"peer_url,omitempty" doc:"Where other controllers reach its etcd."`
}

// Controllers are all of them.
type Controllers struct {
	Items []Controller `json:"items"`
}

// JoinControllerRequest is what a machine sends to become a controller.
type JoinControllerRequest struct {
	Secret  string `json:"secret" doc:"A join token of the role controller."`
	Name    string `json:"name" doc:"Name of the controller."`
	PeerURL string `json:"peer_url,omitempty" doc:"Where the others will reach its etcd; absent where etcd is another process."`
	Proof   string `json:"proof" doc:"A random word that only this machine has. It may ask again with it, where the answer was lost."`
}

// JoinControllerResponse is what makes it one.
type JoinControllerResponse struct {
	CA       string   `json:"ca" doc:"The CA with its key, PEM: whoever has it can be any host and any controller."`
	PeerURLs []string `json:"peer_urls" doc:"Of all members of the embedded etcd, this one among them."`
}
