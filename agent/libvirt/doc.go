// Package libvirt is the agent's Hypervisor: domains through libvirt. Nothing
// else in the tree imports libvirt.
//
// Its input is agent.DomainSpec values, from which it builds domain XML by
// structs alone, so that no text of a tenant is ever read as XML; its output is
// domains that carry Cairn's mark in their metadata, and events.
//
// It must never change, stop or undefine a domain without that mark, never let
// libvirt or QEMU probe a disk's format, and never wait for libvirt to be there:
// a call without a connection fails at once with what to do, and the connection
// is made again by itself.
//
// Build with the tag libvirt_dlopen: libvirt is then loaded when the agent starts.
package libvirt
