package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// repairing is implemented by actions that may put right what another hand has
// changed; what they did is told by an event.
type repairing interface{ repairs() []api.Drift }

// power is the drift of a guest that runs no more, or stands still, although nobody asked for it.
func power(actual string) []api.Drift {
	return []api.Drift{{Field: "power", Desired: "on", Actual: actual}}
}

// unpluggedTap is the drift of a tap that its guest has lost.
func unpluggedTap(tap string) []api.Drift {
	return []api.Drift{{Field: "guest's end of link " + tap, Desired: "plugged in", Actual: "unplugged"}}
}

// differences compares two definitions field by field, but for their marks.
func differences(want, is DomainSpec) (out []api.Drift) {
	field := func(name string, want, is any) {
		if want != is {
			out = append(out, api.Drift{Field: name, Desired: fmt.Sprint(want), Actual: fmt.Sprint(is)})
		}
	}
	field("title", want.Title, is.Title)
	field("vcpus", want.VCPUs, is.VCPUs)
	field("memory_mib", want.MemoryMiB, is.MemoryMiB)
	field("architecture", want.Architecture, is.Architecture)
	field("root disk", want.Root.String(), is.Root.String())
	field("config drive", want.ConfigDrive, is.ConfigDrive)
	field("console log", want.ConsoleLog, is.ConsoleLog)
	for i := range max(len(want.NICs), len(is.NICs)) {
		field(fmt.Sprintf("nics[%d]", i), nicAt(want.NICs, i), nicAt(is.NICs, i))
	}
	return out
}

// String writes the disk and what it stands on.
func (f DiskFile) String() string {
	s := f.Path + " (" + f.Format + ")"
	if f.Path == "" {
		s = "absent"
	}
	if f.Backing != nil {
		s += " on " + f.Backing.String()
	}
	return s
}

func nicAt(nics []DomainNIC, i int) string {
	if i >= len(nics) {
		return "absent"
	}
	return fmt.Sprintf("%s mac %s mtu %d", nics[i].Tap, nics[i].MAC, nics[i].MTU)
}

// definitionDrift is what another hand has changed in a definition.
func definitionDrift(want DomainSpec, d Domain) []api.Drift {
	switch {
	case d.Transient:
		return []api.Drift{{Field: "definition", Desired: "there", Actual: "absent"}}
	case d.Config == nil:
		return nil
	}
	out := differences(want, *d.Config)
	for i := range out {
		out[i].Field = "definition: " + out[i].Field
	}
	return out
}

// nextStart says when what runs and cannot be changed while it runs is put right.
const nextStart = "at its next start"

// instanceDrift is all of an instance that is not as it is wanted, on the network
// as it is made. before is what was reported last: what lasts keeps its time.
func instanceDrift(made network.Desired, want api.HostDesired, have Observed, w api.HostInstance, before []api.Drift, now time.Time) []api.Drift {
	d, defined := have.Domains[w.ID]
	if !defined || d.Mark.Epoch != w.Epoch || !portsKnown(want, w) {
		return nil
	}
	var out []api.Drift
	if d.Config != nil || d.Live != nil || d.Transient {
		s := domainSpec(have.Layout, want, w, made, d.Mark)
		out = definitionDrift(s, d)
		if d.Live != nil {
			s.Title = d.Live.Title // it is for people, and nothing that runs
			for _, x := range differences(s, *d.Live) {
				x.Repair = nextStart
				out = append(out, x)
			}
		}
	}
	for _, tap := range d.Unplugged {
		out = append(out, unpluggedTap(tap)...)
	}
	return since(out, before, now)
}

// since gives what differs the time since when it does, and cuts it to what a
// status has room for.
func since(list, before []api.Drift, now time.Time) []api.Drift {
	list = list[:min(len(list), api.DriftMax)]
	for i := range list {
		list[i].Since = now.UTC()
		for _, b := range before {
			if b.Field == list[i].Field && b.Actual == list[i].Actual {
				list[i].Since = b.Since
			}
		}
	}
	return list
}

func describe(ds []api.Drift) string {
	var out []string
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%s was %s, is %s", d.Field, d.Actual, d.Desired))
	}
	return strings.Join(out, "; ")
}
