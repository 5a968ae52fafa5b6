// Writes compares changes through Cairn's API with a bare etcd client that
// sends the same transactions to the same etcd, in the same run.
//
// First it lets a controller carry out every kind of change once by itself, in front of
// an etcd that keeps the transactions that arrive. Then rounds alternate: so many
// writers at once make these changes through HTTPS with api/client, and as many send
// the kept transactions with etcd's own client, below prefixes of their own, so that
// none of them ever meets a conflict. What a transaction holds is nowhere said
// twice: when Cairn's transactions change, so do their peers.
//
// Input: the flags. Output: a table on standard output. It must never leave out
// work of Cairn's: what a change makes the controller write afterwards belongs to it,
// on both sides.
package main
