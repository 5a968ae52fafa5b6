// Package api holds the resource types of Cairn, one file a kind, and the
// literal list of kinds from which everything else follows: routes, OpenAPI,
// client, CLI verbs, watch and quota.
//
// It is made of plain values: it does no I/O, reads no clock, draws no random
// number and imports nothing of ours and nothing of third parties. Its input is
// JSON from users, the store and agents; its output is the same values, made
// complete (Default) and known to be right (Validate).
package api
