package api

import "net/netip"

// TraceQuery asks what becomes of the first packet of a connection from a port.
type TraceQuery struct {
	To       netip.Addr
	Protocol string // "tcp", "udp" or "ping"
	Port     uint16 // of TCP and UDP, at the destination
}

// Trace is the way of a packet, found by walking through what hosts are made
// to be. Nothing is sent.
type Trace struct {
	Passes bool       `json:"passes" doc:"Whether it arrives, or leaves the cloud."`
	End    string     `json:"end" doc:"Where it ends, and why."`
	Port   string     `json:"port,omitempty" doc:"ID of the port where it arrives."`
	Hops   []TraceHop `json:"hops" doc:"Each link that it takes, and each rule that decides."`
}

// TraceHop is one step on a packet's way.
type TraceHop struct {
	Host  string `json:"host" doc:"Name of the host."`
	Where string `json:"where" doc:"A link, or a chain of rules."`
	What  string `json:"what" doc:"What is done there."`
}
