// Takeover measures how long nobody leads after the leader was killed: from kill -9
// until another controller has decided about an instance, beside two candidates of etcd's
// own election of which one stops. Both wait for a lease of the same ten seconds.
//
// Input: the flags. Output: a table on standard output. It must never kill a
// controller that does not lead.
package main
