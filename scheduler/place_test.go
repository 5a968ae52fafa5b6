package scheduler

import (
	"fmt"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func size(vcpus, memory, disk int64) api.Size {
	return api.Size{VCPUs: vcpus, MemoryMiB: memory, DiskGiB: disk}
}

func host(name string, capacity, used api.Size) Host {
	return Host{ID: "hst_" + name, Name: name, Architecture: "x86_64", Ready: true, Schedulable: true, Capacity: capacity, Used: used}
}

func with(h Host, change func(*Host)) Host {
	change(&h)
	return h
}

func request(s api.Size) Request { return Request{ID: "ins_1", Size: s, Architecture: "x86_64"} }

func TestPlace_choosesTheHost(t *testing.T) {
	big, none := size(8, 8192, 100), api.Size{}
	for _, c := range []struct {
		name  string
		hosts []Host
		want  string // "" for none
	}{
		{"the only one", []Host{host("a", big, none)}, "a"},
		{"exactly as large as asked for", []Host{host("a", size(2, 2048, 10), none)}, "a"},
		{"the fuller of two", []Host{host("a", big, none), host("b", big, size(4, 4096, 50))}, "b"},
		{"not the fuller one without room", []Host{host("a", big, none), host("b", big, size(7, 4096, 50))}, "a"},
		{"the one that is filled evenly", []Host{host("cpu-left", big, size(0, 6144, 20)), host("even", big, size(4, 4096, 20))}, "even"},
		{"one that reports", []Host{with(host("a", big, size(4, 4096, 50)), func(h *Host) { h.Ready = false }), host("b", big, none)}, "b"},
		{"one that is schedulable", []Host{with(host("a", big, size(4, 4096, 50)), func(h *Host) { h.Schedulable = false }), host("b", big, none)}, "b"},
		{"one of the architecture", []Host{with(host("a", big, size(4, 4096, 50)), func(h *Host) { h.Architecture = "aarch64" }), host("b", big, none)}, "b"},
		{"over the CPUs", []Host{host("a", size(1, 8192, 100), none)}, ""},
		{"over the memory", []Host{host("a", size(8, 2047, 100), none)}, ""},
		{"over the disk", []Host{host("a", size(8, 8192, 9), none)}, ""},
		{"a host of which more is used than there is", []Host{host("a", big, size(9, 9000, 101))}, ""},
		{"a reserve larger than the machine", []Host{host("a", size(8, -512, 100), none)}, ""},
		{"no host", nil, ""},
	} {
		d := Place(Snapshot{c.hosts}, []Request{request(size(2, 2048, 10))}, 1)[0]
		if d.HostName != c.want {
			t.Errorf("%s: placed on %q, want %q (%s)", c.name, d.HostName, c.want, d.Reason)
		}
		if d.Request != "ins_1" || d.Reason == "" || (d.Host == "") != (c.want == "") {
			t.Errorf("%s: an incomplete decision: %+v", c.name, d)
		}
	}
}

func TestPlace_obeysRequiredLabels(t *testing.T) {
	big := size(8, 8192, 100)
	ssd := with(host("ssd", big, api.Size{}), func(h *Host) { h.Labels = map[string]string{"disk": "ssd", "zone": "a"} })
	hdd := with(host("hdd", big, size(4, 4096, 50)), func(h *Host) { h.Labels = map[string]string{"disk": "hdd"} })
	r := request(size(1, 1024, 1))
	r.RequiredLabels = map[string]string{"disk": "ssd"}
	if d := Place(Snapshot{[]Host{ssd, hdd}}, []Request{r}, 1)[0]; d.HostName != "ssd" {
		t.Errorf("placed on %q: %s", d.HostName, d.Reason)
	}
	r.RequiredLabels = map[string]string{"disk": "ssd", "zone": "b"}
	d := Place(Snapshot{[]Host{ssd, hdd}}, []Request{r}, 1)[0]
	want := []api.Rejected{{Filter: "labels", Hosts: 2, Detail: "the instance needs disk=ssd,zone=b"}}
	if fmt.Sprint(d.Rejected) != fmt.Sprint(want) {
		t.Errorf("rejected %+v, want %+v", d.Rejected, want)
	}
	r.RequiredLabels = map[string]string{"gpu": ""}
	if d := Place(Snapshot{[]Host{ssd, hdd}}, []Request{r}, 1)[0]; d.Host != "" {
		t.Errorf("a missing label passes as an empty one: %+v", d)
	}
}

func TestPlace_saysHowManyHostsEachFilterRejected(t *testing.T) {
	big := size(8, 8192, 100)
	s := Snapshot{[]Host{
		with(host("a", big, api.Size{}), func(h *Host) { h.Ready = false }),
		host("b", big, size(0, 7000, 0)),
		host("c", big, size(0, 7500, 0)),
		host("d", big, size(7, 0, 0)),
	}}
	d := Place(s, []Request{request(size(2, 2048, 10))}, 7)[0]
	want := []api.Rejected{
		{Filter: "ready", Hosts: 1, Detail: "none of these hosts reports; see their events"},
		{Filter: "vcpus", Hosts: 1, Detail: "of 2 vCPUs asked for, the nearest host lacks 1"},
		{Filter: "memory", Hosts: 2, Detail: "of 2048 MiB of memory asked for, the nearest host lacks 856"},
	}
	if fmt.Sprint(d.Rejected) != fmt.Sprint(want) {
		t.Errorf("rejected\n%+v, want\n%+v", d.Rejected, want)
	}
	if want := "none of 4 hosts fits: rejected 1 by ready, 1 by vcpus, 2 by memory"; d.Reason != want {
		t.Errorf("reason %q, want %q", d.Reason, want)
	}
}

func TestPlace_laterRequestsSeeEarlierDecisions(t *testing.T) {
	s := Snapshot{[]Host{host("a", size(4, 4096, 40), api.Size{}), host("b", size(2, 2048, 20), api.Size{})}}
	var rs []Request
	for i := range 5 {
		rs = append(rs, Request{ID: fmt.Sprint("ins_", i), Size: size(2, 2048, 10), Architecture: "x86_64"})
	}
	placed := map[string]int{}
	for _, d := range Place(s, rs, 1) {
		placed[d.HostName]++
	}
	if placed["a"] != 2 || placed["b"] != 1 || placed[""] != 2 {
		t.Errorf("placed %v, want 2 on a, 1 on b and 2 nowhere", placed)
	}
	if s.Hosts[0].Used != (api.Size{}) {
		t.Error("Place changed its snapshot")
	}
}

func TestPlace_namesTheRunnerUp(t *testing.T) {
	big := size(8, 8192, 100)
	s := Snapshot{[]Host{host("worst", big, api.Size{}), host("best", big, size(4, 4096, 50)), host("second", big, size(2, 2048, 25))}}
	d := Place(s, []Request{request(size(2, 2048, 10))}, 1)[0]
	if d.HostName != "best" || d.RunnerUp != "second" {
		t.Errorf("placed on %s before %s", d.HostName, d.RunnerUp)
	}
	if want := "it is the best fit: 2 vCPUs, 2048 MiB and 40 GiB stay free on best; second was second"; d.Reason != want {
		t.Errorf("reason %q, want %q", d.Reason, want)
	}
}

func TestPlace_anotherSeedBreaksTiesAnotherWay(t *testing.T) {
	var hosts []Host
	for i := range 8 {
		hosts = append(hosts, host(fmt.Sprint("h", i), size(8, 8192, 100), api.Size{}))
	}
	chosen := map[string]bool{}
	for seed := range uint64(50) {
		chosen[Place(Snapshot{hosts}, []Request{request(size(1, 128, 1))}, seed)[0].HostName] = true
	}
	if len(chosen) < 4 {
		t.Errorf("50 seeds chose only %v of 8 equal hosts", chosen)
	}
}

func TestTooLarge_onlyWhereNoEmptyHostCouldTakeIt(t *testing.T) {
	full := host("full", size(8, 8192, 100), size(8, 8192, 100))
	unknown := Host{ID: "hst_new", Name: "new", Architecture: "x86_64"}
	arm := with(host("arm", size(64, 1<<20, 1000), api.Size{}), func(h *Host) { h.Architecture = "aarch64" })
	for _, c := range []struct {
		name  string
		hosts []Host
		ask   api.Size
		want  string
	}{
		{"no hosts", nil, size(999, 1, 1), ""},
		{"only one that has not reported", []Host{unknown}, size(999, 1, 1), ""},
		{"fits when it is empty", []Host{full}, size(8, 8192, 100), ""},
		{"another architecture says nothing", []Host{arm}, size(999, 1, 1), ""},
		{"too many CPUs", []Host{full, arm, unknown}, size(9, 1, 1), "it takes 9 vCPUs, 1 MiB and 1 GiB; the nearest host, full, has 8 vCPUs, 8192 MiB and 100 GiB for instances in all"},
		{"each has one thing", []Host{full, host("wide", size(16, 64, 100), api.Size{})}, size(9, 8192, 1), "it takes 9 vCPUs, 8192 MiB and 1 GiB; the nearest host, full, has 8 vCPUs, 8192 MiB and 100 GiB for instances in all"},
	} {
		if got := TooLarge(Snapshot{c.hosts}, request(c.ask)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
