// Command boot measures an instance from POST to running, its image on the
// host, beside the same work by hand on the same host: `qemu-img create` over the
// same image, a copy of the config drive, a tap on the network's bridge, and
// `virsh define` and `start` of the same domain. The two take turns.
//
// Its input is its flags, bin/cairn and the tiny image; its output, a table. It
// has a lab of one host of its own, which it removes, and must never count a
// round in which the guest was not running in the end.
package main
