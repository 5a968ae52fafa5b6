// Package bench is what the benchmarks below it share: the processes that they
// measure, and how numbers are taken and printed.
//
// Each benchmark is a program in a directory of its own (writes, lists, scale,
// boot). It starts the real binary and a real etcd as processes of their own, so
// that what is measured is theirs alone, drives them through the API as any client
// would, and prints what came of it beside its peer in the same run. Its input is its
// flags, its output is a table on standard output. It must never measure by
// another way than a client's, judge a number that it did not measure, or leave a
// process or a file behind.
package bench
