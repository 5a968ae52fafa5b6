// Package backup is the file that holds a whole cloud: what its etcd holds, at one
// revision, and its CA.
//
// Its input is a snapshot of the store and the CA with its key; its output is a zip
// with their checksums, and the data directory that is made from one. It writes into no
// directory that has data, and knows nothing of what is in the store.
package backup
