// Package network plans the network of one host: it says which links,
// forwarding entries, neighbours, addresses, routes and rules must come and go
// so that what is observed becomes what is desired.
//
// It is pure: values in, values out. It must never touch the kernel, look at a
// clock, or name a thing that does not carry Cairn's prefix. Its input comes
// from the agent (the map of the host's networks) and from network/linux (what
// is there); its output, operations in the order in which they are done, goes
// to network/linux.
package network
