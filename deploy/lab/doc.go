// Package lab runs a whole cloud on one machine: a controller, and hosts that
// are as real as they can be without machines of their own. It is the demo, the
// developer's loop and the bed of the end-to-end tests.
//
// A machine of the lab is a process that is the first of its own namespaces
// (PID, mount, UTS, and network for hosts) and starts the same programs that
// production runs: libvirtd and `cairn agent`, or `cairn controller`. It starts
// a program again when that ends, and everything on it, guests included, ends
// with it: killing that one process is pulling the plug, and what it had
// mounted and linked goes too. So nothing can be left behind.
//
// Its input is Options and the lab's directory; its output, processes, one
// bridge that joins the hosts, and files in that directory. It must never touch
// a link, process or directory that is not the lab's own, and never take a part
// in what the cloud does: it talks to it as any client.
package lab
