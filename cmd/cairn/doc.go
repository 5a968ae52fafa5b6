// Command cairn is the whole of Cairn in one binary: the control plane
// (cairn controller), a host's agent (cairn agent), both on one machine
// (cairn up), several hosts on one machine (cairn lab), and the client
// (cairn instance list, and so on for every kind of resource).
//
// It only puts parts together. It must hold no rule about resources: the
// verbs of the client are generated from api.Kinds, and what a kind wants
// beyond that is data in convenience.go. Input comes from arguments, the
// environment and files named there; data goes to the standard output,
// everything else to the standard error.
//
// Exit codes: 0 done; 1 failed; 2 wrong usage; 3 not found; 4 conflict, or the
// resource was changed meanwhile; 5 out of time.
package main
