package scheduler

import (
	"fmt"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

// BenchmarkPlace places one instance at a time on 1,000 hosts that run 20 each.
func BenchmarkPlace(b *testing.B) {
	var s Snapshot
	for i := range 1000 {
		s.Hosts = append(s.Hosts, host(fmt.Sprint("h", i), size(256, 262144, 2000), size(20+int64(i%7), 20480+int64(i%13)*512, 200)))
	}
	for _, batch := range []int{1, 32, 512} {
		rs := make([]Request, batch)
		for i := range rs {
			rs[i] = Request{ID: fmt.Sprint("ins_", i), Size: api.Size{VCPUs: 2, MemoryMiB: 2048, DiskGiB: 20}, Architecture: "x86_64"}
		}
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			for b.Loop() {
				if ds := Place(s, rs, 1); ds[0].Host == "" {
					b.Fatal(ds[0].Reason)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/instance")
		})
	}
}
