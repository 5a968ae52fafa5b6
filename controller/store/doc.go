// Package store keeps the objects: records in etcd, and an indexed copy of them
// in memory from which everything is read.
//
// Its input is Changes, which Commit's caller decides on the newest view; its
// output is one etcd transaction for as many of them as were waiting, and the
// feed of what changed. It is the only place that imports etcd's client. It
// knows how objects are kept (records, claims, counters, references, leases) and nothing
// about what they mean: it must never judge a quota, complete an object or clean up behind anybody. It starts
// no transaction by itself but for leases, the schema gate and the end of a lost one.
//
// How to find the way:
//
//	keys.go record.go object.go   what is in etcd, and how three records become one object
//	compact.go                    how it takes less memory
//	tables.go view.go             the copy in memory: persistent B-trees, so that a snapshot costs nothing
//	feed.go list.go mirror.go     list once, watch from there, publish revision by revision
//	adopt.go                      what this process has written it need not read again
//	history.go watch.go           the last revisions, from which watchers are served
//	change.go claims.go stage.go  a Change becomes comparisons and writes, on an overlay
//	pipeline.go batch.go          many changes become one transaction, and the next is decided meanwhile
//	transaction.go                conflicts, unknown results
//	session.go lead.go lease.go   what lives as long as this process, or a day
//	embedded.go peer.go members.go  an etcd in this process, which may be one of several
//	latest.go controllers.go      what other controllers have acknowledged, and who they are
//	held.go                       snapshots, and a store made from one, which is held
//	schema.go agree.go            which version of the records is written, and what all processes share
package store
