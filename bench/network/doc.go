// Network measures the way between two guests on two hosts: TCP throughput and the
// time of a round trip, beside the same bridges and tunnels without any rule, and
// with many ports, members and rules beside few.
//
// Namespaces stand in for hosts and guests, and cables for taps, so that it is the
// kernel's way that is measured and not an emulator. The rooms stand side by side,
// and are measured in turn. It needs root.
//
// Input: the flags. Output: a table on standard output.
package main
