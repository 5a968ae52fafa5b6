// Package scheduler decides which host runs an instance.
//
// It is one pure function, Place: a Snapshot of the hosts and a list of
// Requests go in, a Decision for each request comes out, with the reason why that
// host, or how many hosts each filter rejected. It does no I/O, reads no clock
// and draws no randomness but from its seed, so a decision can be replayed. Its
// input is built by the controller from the store's view; what it returns the
// controller writes, and the store refuses it where a host has no room after all.
//
// The words: a request passes the *filters* (what a host must have), the hosts
// that are left are *scored* (how well it fits), the lowest score wins. A better
// scheduler is another Placer; nothing else in the tree knows how this one works.
package scheduler
