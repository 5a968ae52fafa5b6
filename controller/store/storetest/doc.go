// Package storetest opens real stores for the tests of other packages: an etcd
// in the test's process, its data in the test's directory, closed at the test's end.
//
// It must be imported by tests only. It fakes nothing but fsync and time's passing: its input is
// the test, its output is a store whose Close has found no object changed in memory.
package storetest
