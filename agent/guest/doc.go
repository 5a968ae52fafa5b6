// Package guest answers what guests ask their host for: DHCP, DNS and metadata. It
// implements agent.Guests.
//
// Its input is the host's desired state, which Set takes whole, and what guests
// send to the gateway of their network; its output, answers to those guests,
// and the files of their config drives. For every network with a port on the
// host it holds sockets in that network's router namespace, which network/linux
// made; it goes on answering from the last Set for as long as it is open,
// whatever becomes of the control plane.
//
// What DNS is asked about the world, it asks of the operator's resolvers, from the host.
//
// It must never believe what a guest says of itself: a guest is known by the
// network, and by the MAC and the address that its port pins it to. It never
// makes a namespace, link, address or rule, and keeps nothing on disk.
package guest
