// Package memetcd is an etcd in memory that answers as etcd does: one history of
// revisions, transactions, leases, watches, compaction, limits and errors. The
// simulator runs the store's own code on it, under a virtual clock, and decides
// when each request takes effect and what becomes of its answer.
//
// Its input is the requests of etcd's own client, of which only the connection is
// replaced (conn.go); its output is that client's answers. It must never read a
// clock that was not passed in, draw a random number, or start a goroutine that is
// not a watch's or a keep-alive's. What is left out: authentication, membership,
// snapshots and streamed ranges, which answer "unimplemented".
//
// That it and a real etcd answer alike is shown by the conformance tests. One
// difference is meant: a watch that has been held up since before a compaction
// is told that it was compacted, which etcd does to watchers that lag, but not always.
package memetcd
