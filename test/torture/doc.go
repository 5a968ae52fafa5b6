// Package torture tries three real controllers against what happens to machines:
// processes that are killed or stopped, a disk that is full. Meanwhile clients use the
// API, and what they were answered must be explained by one order of all calls.
//
// Its input is the source, from which it builds the binary, and CAIRN_KILLS, how often
// to kill; its output is the verdict. Everything is on the loopback interface and below
// a temporary directory, which goes with it.
package torture
