package api

// NetworkReport is a host's network in words, as it is to be and as its agent finds it.
type NetworkReport struct {
	Desired []string       `json:"desired" doc:"What is to be there, sorted: a line for each link, forwarding entry, tunnel, neighbour, address, route, setting, rule and element."`
	Actual  []string       `json:"actual" doc:"What there is, in the same words."`
	Drift   []NetworkDrift `json:"drift" doc:"What differs. It is put right at once; what stays cannot be put right, and the host's log says why."`
}

// NetworkDrift is something of a host's network that is not as it is wanted.
type NetworkDrift struct {
	Field   string `json:"field" example:"link ct0001 mtu"`
	Desired string `json:"desired"`
	Actual  string `json:"actual"`
}
