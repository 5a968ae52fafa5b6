package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/cairn-cloud/cairn/agent"
	"github.com/cairn-cloud/cairn/api"
)

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant string
	About     string // ID of the resource concerned, where there is one
	Err       error
}

func (v *Violation) Error() string { return v.Invariant + ": " + v.Err.Error() }

// Invariant is something that must always be so.
type Invariant struct {
	Name string
	Doc  string
	// One of: judged after every step; after every revision of etcd; once all has
	// come to rest.
	step     func(*world) (about string, err error)
	revision func(*world, *revision) (about string, err error)
	rest     func(*world) (about string, err error)
}

// Invariants are all of them. docs/explanation/invariants.md lists them.
var Invariants = []Invariant{
	{Name: "RunsOnOneHost", Doc: "An instance never runs on two hosts.", step: runsOnOneHost},
	{Name: "NoPromiseBroken", Doc: "What was acknowledged is there, until something else was asked for.", revision: noPromiseBroken, rest: everyPromiseKept},
	{Name: "GivenOnce", Doc: "No name, address, MAC, VNI or unit of a quota is given twice or leaked: claims, counters and references are what the objects come to.", revision: givenOnce},
	{Name: "NoHostOverfilled", Doc: "What is placed on a host fits it.", revision: noHostOverfilled},
	{Name: "DeletionsEnd", Doc: "Every deletion ends, and leaves nothing on any host.", rest: deletionsEnd},
	{Name: "OrphansAreKept", Doc: "What nobody owns on a host is not removed before its time.", step: orphansAreKept},
	{Name: "WatchersSeeAllOnce", Doc: "A watcher sees every change once, and in order.", step: watchersInOrder, rest: watchersSawAll},
	{Name: "StaleEpochChangesNothing", Doc: "A report counts only under the present epoch; epochs only rise; only the leader places.", revision: staleEpochChangesNothing},
	{Name: "Converges", Doc: "Once faults stop, everything reaches its desired state in bounded time.", rest: converged},
	{Name: "SilentAtRest", Doc: "At rest nothing is written to the store.", step: silentAtRest},
	{Name: "EventsExplainHistory", Doc: "What becomes of an object is told by its events.", revision: eventsExplainHistory},
}

func (w *world) fail(name, about string, err error) {
	if err != nil && w.violation == nil {
		w.violation = &Violation{Invariant: name, About: about, Err: err}
		w.trace.add("violation: %v", w.violation)
	}
}

// look judges what is so between two steps.
func (w *world) look() {
	w.truth.follow()
	for _, i := range Invariants {
		if i.step != nil && w.violation == nil {
			about, err := i.step(w)
			w.fail(i.Name, about, err)
		}
	}
}

func (w *world) judgeRevision(r *revision) {
	for _, i := range Invariants {
		if i.revision != nil && w.violation == nil {
			about, err := i.revision(w, r)
			w.fail(i.Name, about, err)
		}
	}
	w.lose(r)
}

func runsOnOneHost(w *world) (string, error) {
	on := map[string]string{}
	for _, m := range w.machines {
		m.mu.Lock()
		for id, d := range m.domains {
			if d.State == agent.DomainRunning {
				if other := on[id]; other != "" {
					m.mu.Unlock()
					return id, fmt.Errorf("%s runs on %s and on %s", id, min(other, m.name), max(other, m.name))
				}
				on[id] = m.name
			}
		}
		m.mu.Unlock()
	}
	return "", nil
}

func noPromiseBroken(w *world, r *revision) (string, error) {
	for _, id := range slices.Sorted(maps.Keys(r.before)) {
		var o api.Object
		if x := w.truth.objects[id]; x != nil {
			o = x.o
		}
		for _, p := range w.promises[id] {
			if !p.holds(o) {
				return id, fmt.Errorf("%s: %s, and at revision %d that is not so any more", id, p.what, r.rev)
			}
		}
	}
	return "", nil
}

// everyPromiseKept looks at what users know of their things.
func everyPromiseKept(w *world) (string, error) {
	for _, u := range w.users {
		for _, name := range u.order {
			t := u.things[name]
			if t.id == "" || t.deleting {
				continue
			}
			x := w.truth.objects[t.id]
			if x == nil {
				return t.id, fmt.Errorf("%s was created, and is not there", t.name)
			}
			if v := x.o.GetMeta().Labels[label]; !t.values[v] {
				return t.id, fmt.Errorf("%s has the label %q, and was to have one of %v", t.name, v, slices.Sorted(maps.Keys(t.values)))
			}
		}
	}
	return "", nil
}

// givenOnce works out from the objects what is claimed, and compares.
func givenOnce(w *world, r *revision) (string, error) {
	owners, counts, refs := map[string]string{}, map[string]map[string]int64{}, map[string]bool{}
	addresses := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(w.truth.objects)) {
		o := w.truth.objects[id].o
		cs := []api.Claims{o.Claims()}
		if i, ok := o.(*api.Instance); ok {
			cs = append(cs, i.PlacementClaims())
		}
		if p, ok := o.(*api.Port); ok {
			has := []string{p.Spec.Network + " " + p.Spec.MAC}
			for _, a := range p.Spec.Addresses {
				has = append(has, p.Spec.Network+" "+a.Address.String())
			}
			for _, at := range has {
				if other := addresses[at]; other != "" {
					return id, fmt.Errorf("%s and %s both have %s", other, id, at)
				}
				addresses[at] = id
			}
		}
		for _, c := range cs {
			for _, u := range c.Unique {
				if other := owners[u.Key]; other != "" {
					return id, fmt.Errorf("%s and %s both have %s", other, id, u.Key)
				}
				owners[u.Key] = id
			}
			for _, n := range c.Counts {
				if counts[n.Key] == nil {
					counts[n.Key] = map[string]int64{}
				}
				for k, v := range n.Amounts {
					counts[n.Key][k] += v
				}
			}
			for _, x := range c.Refs {
				refs[refPrefix+x.Kind+"/"+x.ID+"/"+w.truth.objects[id].kind+"/"+id] = true
				if w.truth.objects[x.ID] == nil {
					return id, fmt.Errorf("%s needs %s %s, which is not there", id, x.Kind, x.ID)
				}
			}
		}
	}
	return sameClaims(w, owners, counts, refs)
}

func sameClaims(w *world, owners map[string]string, counts map[string]map[string]int64, refs map[string]bool) (string, error) {
	claims, counters, references := 0, 0, 0
	for key, kv := range w.truth.raw {
		switch {
		case strings.HasPrefix(key, claimPrefix):
			claims++
			if id := owners[strings.TrimPrefix(key, claimPrefix)]; id != string(kv.Value) {
				return string(kv.Value), fmt.Errorf("%s is claimed by %s, and is %q's", key, kv.Value, id)
			}
		case strings.HasPrefix(key, countPrefix):
			counters++
			have := map[string]int64{}
			if err := json.Unmarshal(kv.Value, &have); err != nil {
				return "", fmt.Errorf("%s: %w", key, err)
			}
			if want := counts[strings.TrimPrefix(key, countPrefix)]; !equalAmounts(have, want) {
				return "", fmt.Errorf("%s is %v, and should be %v", key, have, want)
			}
		case strings.HasPrefix(key, refPrefix):
			references++
			if !refs[key] {
				return "", fmt.Errorf("%s is about nothing", key)
			}
		}
	}
	for key, amounts := range counts {
		if equalAmounts(amounts, nil) {
			delete(counts, key)
		}
	}
	if claims != len(owners) || references != len(refs) || counters < len(counts) {
		return "", fmt.Errorf("etcd has %d claims, %d references and %d counters, and should have %d, %d and %d", claims, references, counters, len(owners), len(refs), len(counts))
	}
	return "", nil
}

func equalAmounts(a, b map[string]int64) bool {
	for k := range a {
		if a[k] != b[k] {
			return false
		}
	}
	for k := range b {
		if a[k] != b[k] {
			return false
		}
	}
	return true
}

func noHostOverfilled(w *world, r *revision) (string, error) {
	// What a host has room for can become less: only what is placed now is judged.
	placed := map[string]bool{} // reservations
	for id, o := range r.before {
		was, _ := o.(*api.Instance)
		now, ok := one[*api.Instance](w.truth, id)
		if !ok || was != nil && reflect.DeepEqual(was.Placement, now.Placement) {
			continue
		}
		for _, c := range now.PlacementClaims().Counts {
			placed[c.Key] = true
		}
	}
	if len(placed) == 0 {
		return "", nil
	}
	used := map[string]api.Size{}
	for _, i := range all[*api.Instance](w.truth) {
		for _, c := range i.PlacementClaims().Counts {
			u := used[c.Key]
			used[c.Key] = api.Size{VCPUs: u.VCPUs + c.Amounts["vcpus"], MemoryMiB: u.MemoryMiB + c.Amounts["memory_mib"], DiskGiB: u.DiskGiB + c.Amounts["disk_gib"]}
		}
	}
	for _, h := range all[*api.Host](w.truth) {
		bare := api.Clone(h)
		bare.Status.Orphans = nil // they come on top of what was placed, whenever they are found
		u, c := used[api.ReservationKey(h.ID)], bare.Capacity()
		if placed[api.ReservationKey(h.ID)] && (u.VCPUs > c.VCPUs || u.MemoryMiB > c.MemoryMiB || u.DiskGiB > c.DiskGiB) {
			return h.ID, fmt.Errorf("%s has %+v placed on it, and room for %+v", h.Name, u, c)
		}
	}
	return "", nil
}

func staleEpochChangesNothing(w *world, r *revision) (string, error) {
	for _, e := range r.events {
		kind, id, part := subject(string(e.Kv.Key))
		if kind != api.KindInstance || e.Type == mvccpb.Event_DELETE {
			continue
		}
		now, ok := one[*api.Instance](w.truth, id)
		if !ok {
			continue
		}
		was, _ := r.before[id].(*api.Instance)
		if part == "status" && now.Status.Epoch != 0 && now.Status.Epoch != now.Placement.Epoch {
			return id, fmt.Errorf("the status of %s is of the epoch %d, at revision %d the epoch is %d", id, now.Status.Epoch, r.rev, now.Placement.Epoch)
		}
		if part != "placement" || was == nil || now.Placement.Host == was.Placement.Host {
			continue
		}
		if now.Placement.Epoch <= was.Placement.Epoch {
			return id, fmt.Errorf("%s moved from %q to %q, and its epoch went from %d to %d", id, was.Placement.Host, now.Placement.Host, was.Placement.Epoch, now.Placement.Epoch)
		}
		if by, leader := w.writer(r), w.leader(); by != "" && by != leader {
			return id, fmt.Errorf("%s was placed by %s at revision %d, when %s led", id, by, r.rev, leader)
		}
	}
	return "", nil
}

// writer is the controller whose transaction the revision is.
func (w *world) writer(r *revision) string {
	for _, e := range r.events {
		if id, ok := strings.CutPrefix(string(e.Kv.Key), writerPrefix); ok {
			return w.nameOfStore(id)
		}
	}
	return ""
}

func eventsExplainHistory(w *world, r *revision) (string, error) {
	told := map[string][]string{}
	for _, e := range r.events {
		kind, id, part := subject(string(e.Kv.Key))
		if kind == api.KindEvent && part == "spec" && e.Type == mvccpb.Event_PUT {
			if x, ok := one[*api.Event](w.truth, id); ok {
				told[x.Spec.Object] = append(told[x.Spec.Object], x.Spec.Reason)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.before)) {
		was, _ := r.before[id].(*api.Instance)
		now, _ := one[*api.Instance](w.truth, id)
		var what string
		switch {
		case !strings.HasPrefix(id, "ins_"):
			continue
		case was == nil && now != nil:
			what = "was made"
		case was != nil && now == nil:
			what = "went"
		case was.Placement.Host != now.Placement.Host:
			what = "was placed"
		case was.Generation != now.Generation:
			what = "was changed"
		default:
			continue
		}
		if len(told[id]) == 0 {
			return id, fmt.Errorf("%s %s at revision %d, and no event says so", id, what, r.rev)
		}
	}
	return "", nil
}

func watchersInOrder(w *world) (string, error) {
	for _, x := range w.watchers {
		if x.err != nil {
			return "", x.err
		}
	}
	return "", nil
}

func watchersSawAll(w *world) (string, error) {
	for _, x := range w.watchers {
		if err := x.missed(w.truth, true); err != nil {
			return "", err
		}
	}
	return "", nil
}

func silentAtRest(w *world) (string, error) {
	if w.quiet != 0 && w.cluster.Revision() != w.quiet {
		return "", fmt.Errorf("at rest at revision %d, and yet there is revision %d", w.quiet, w.cluster.Revision())
	}
	return "", nil
}

// readyHosts are the machines that are there, have reported, and count as alive.
func (w *world) readyHosts() (out []*api.Host) {
	for _, h := range all[*api.Host](w.truth) {
		if c := h.Status.Condition("Ready"); w.truth.raw[alivePrefix+h.ID] != nil && c != nil && c.OK && h.Status.CPUs > 0 {
			out = append(out, h)
		}
	}
	return out
}

func (w *world) machineOf(host string) *machine {
	if h, ok := one[*api.Host](w.truth, host); ok {
		return w.machine(h.Name)
	}
	return nil
}

// converged tells what is not yet as it should be.
func converged(w *world) (string, error) {
	if have, want := len(w.readyHosts()), len(all[*api.Host](w.truth)); have != want {
		return "", fmt.Errorf("%d of %d hosts are ready", have, want)
	}
	for _, i := range all[*api.Instance](w.truth) {
		if err := w.settled(i); err != nil {
			return i.ID, err
		}
	}
	for _, p := range all[*api.Port](w.truth) {
		i, attached := one[*api.Instance](w.truth, p.Spec.Instance)
		if up := attached && i.Status.State == api.StateRunning; up != (p.Status.State == api.StateActive) {
			return p.ID, fmt.Errorf("port %s is %s, and whether its instance runs: %t", p.Name, p.Status.State, up)
		}
	}
	if about, err := orphansAreShown(w); err != nil {
		return about, err
	}
	return w.strays()
}

func (w *world) settled(i *api.Instance) error {
	switch {
	case i.Deleting():
		return fmt.Errorf("%s is still being deleted, in the state %s", i.Name, i.Status.State)
	case i.Placement.Host == "":
		if c := i.Status.Condition("Scheduled"); c == nil || c.OK {
			return fmt.Errorf("%s is not placed, and does not say why", i.Name)
		}
		if h := w.roomFor(i); h != "" {
			return fmt.Errorf("%s is not placed, and would fit on %s", i.Name, h)
		}
		return nil
	}
	if t := i.Placement.Target; t != nil {
		return fmt.Errorf("%s is still being moved to %s", i.Name, t.HostName)
	}
	m := w.machineOf(i.Placement.Host)
	if m == nil {
		return fmt.Errorf("%s is on a host that is not there", i.Name)
	}
	m.mu.Lock()
	d, there := m.domains[i.ID]
	halted := m.halted[i.ID]
	drift := m.drifted(i)
	m.mu.Unlock()
	if drift != nil {
		return drift
	}
	want := i.Spec.Power == api.PowerOn && !halted
	runs := there && d.State == agent.DomainRunning
	state := map[bool]api.State{true: api.StateRunning, false: api.StateStopped}[runs]
	switch {
	case want && !runs:
		return fmt.Errorf("%s is to run on %s, and does not", i.Name, m.name)
	case i.Spec.Power == api.PowerOff && runs:
		return fmt.Errorf("%s is to be off, and runs on %s", i.Name, m.name)
	case there && d.Mark.Epoch != i.Placement.Epoch:
		return fmt.Errorf("%s is there under the epoch %d, and placed under %d", i.Name, d.Mark.Epoch, i.Placement.Epoch)
	case i.Status.State != state:
		return fmt.Errorf("%s is %s, and is said to be %s", i.Name, state, i.Status.State)
	case i.Status.ObservedGeneration != i.Generation:
		return fmt.Errorf("%s has the generation %d, and %d is observed", i.Name, i.Generation, i.Status.ObservedGeneration)
	}
	return nil
}

// roomFor is a host that could take the instance.
func (w *world) roomFor(i *api.Instance) string {
	used := map[string]api.Size{}
	for _, o := range all[*api.Instance](w.truth) {
		u, s := used[o.Placement.Host], o.Spec.Size
		used[o.Placement.Host] = api.Size{VCPUs: u.VCPUs + s.VCPUs, MemoryMiB: u.MemoryMiB + s.MemoryMiB, DiskGiB: u.DiskGiB + s.DiskGiB}
	}
	for _, h := range w.readyHosts() {
		u, c, s := used[h.ID], h.Capacity(), i.Spec.Size
		if u.VCPUs+s.VCPUs <= c.VCPUs && u.MemoryMiB+s.MemoryMiB <= c.MemoryMiB && u.DiskGiB+s.DiskGiB <= c.DiskGiB {
			return h.Name
		}
	}
	return ""
}

// strays are domains and disks of instances that are not placed where they are.
func (w *world) strays() (string, error) {
	for _, m := range w.machines {
		m.mu.Lock()
		ids := slices.Concat(slices.Collect(maps.Keys(m.domains)), slices.Collect(maps.Keys(m.disks)))
		m.mu.Unlock()
		slices.Sort(ids)
		for _, id := range ids {
			if m.quarantined(id) {
				continue
			}
			i, ok := one[*api.Instance](w.truth, id)
			if h, known := one[*api.Host](w.truth, hostID(i, ok)); !known || h.Name != m.name {
				return id, fmt.Errorf("%s has a domain or disk of %s, which is not placed there", m.name, id)
			}
		}
	}
	return "", nil
}

// quarantined tells whether the host keeps what there is of an instance as
// nobody's, and does not run it.
func (m *machine) quarantined(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.orphans {
		if o.ID == id || o.Instance == id {
			return m.domains[id].State != agent.DomainRunning
		}
	}
	return false
}

func hostID(i *api.Instance, ok bool) string {
	if !ok {
		return ""
	}
	return i.Placement.Host
}

// deletionsEnd is judged when all was asked to be deleted.
func deletionsEnd(w *world) (string, error) {
	for _, o := range all[*api.Instance](w.truth) {
		if o.Deleting() {
			return o.ID, fmt.Errorf("%s is still there, in the state %s", o.Name, o.Status.State)
		}
	}
	return w.strays()
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
