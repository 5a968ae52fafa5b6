// Scale runs one controller with many hosts and instances, and says what it
// takes to place them all, and what it holds and uses once nothing happens any more.
//
// The hosts are real agents (package agent) that speak to the controller as any
// agent does: they join with a token, follow the stream of their desired state over
// a TLS connection of their own, report and send heartbeats. What they drive is a machine in memory,
// where a guest runs as soon as it is started. They live together in a
// process of their own, and etcd in another, so that what is measured is the controller's alone.
//
// Input: the flags. Output: a table on standard output. It must never touch the
// machine's own libvirt, links or disks.
package main
