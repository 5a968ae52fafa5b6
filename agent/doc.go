// Package agent makes one host what it is to be: it observes what is there,
// plans the difference to what is desired, applies it and reports.
//
// Its input is the host's desired state, from the control plane's one stream
// or, while that is away, from the file it keeps, and the events of the
// hypervisor and the kernel. Its output is what the drivers do (Drivers), and
// reports to the control plane. Plan is pure: it takes values and the time and
// returns actions that leave no choice to their execution.
//
// The agent must never touch a domain, link, rule or file that it did not
// make; never run an instance under an epoch that is not the current one; never
// take silence for a deletion: what the stream did not name is removed only
// after the stream said that it has named all ("synced"). It stops without
// stopping a guest, and starts by adopting what runs.
package agent
