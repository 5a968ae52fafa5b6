// Package sim runs the whole control plane in one process under a virtual clock:
// the real controllers, scheduler, REST handlers, client and agents, on an etcd in
// memory and on hosts that are values, while faults drawn from a seed happen to
// them. After every step the invariants are looked at (invariants.go), and at the
// end all must have come to rest as it was asked for.
//
// Its input is a seed and how much of everything there is to be; its output is a
// violation, or none, and a trace that is the same for the same seed. It must
// never read a real clock or a random number that does not follow from the seed.
//
// How to find the way:
//
//	bubble.go dice.go          virtual time, and random choices that follow from the seed
//	step.go process.go         what happens, one at a time; what can crash
//	faults.go strike.go        what goes wrong
//	wire.go etcd.go            in place of HTTPS and of etcd's connection
//	machine.go controllers.go  in place of libvirt, the kernel and main
//	users.go watcher.go        who asks for things, and remembers what was promised
//	truth.go invariants.go     what etcd holds, and what must be so
//	run.go shrink.go           a run, and the shortest schedule that still fails
//	mutants.go                 faults in Cairn itself, to show that they would be found
package sim
