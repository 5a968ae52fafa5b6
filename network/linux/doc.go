// Package linux carries out network plans on a Linux host, by netlink and
// nftables: it observes what there is, asks network.Plan, and does what that
// says, as a difference.
//
// It must decide nothing, run no program, and never touch a link, namespace or
// table that is not Cairn's: ours have the prefix of a name and, for links, the
// alias "cairn" as a mark. All of it happens in the network namespace of the
// thread that opens it. Input comes from the agent; output goes to the kernel.
package linux
