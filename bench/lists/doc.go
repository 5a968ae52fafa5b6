// Command lists measures pages of 100 out of 100,000 instances: the first, those
// in the middle and the last of a list, and pages of what a label chooses,
// through HTTPS, until the answer is read; beside them ranges of 100 keys that a
// bare etcd client reads from the same etcd.
//
// Its input is its flags and bin/cairn; its output, a table. It must never
// count a page that it did not check to be full.
package main
