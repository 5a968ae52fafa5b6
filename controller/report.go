package controller

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

// Report implements rest.Backend: what a host says of itself and of what is
// placed on it. Repeating it changes nothing. A host with many instances says more
// than a transaction of etcd holds, so that it takes several; each report is whole.
func (b *Backend) Report(ctx context.Context, host string, seen int64, reports []api.Report) (rev int64, err error) {
	if err := b.reached(ctx, seen); err != nil {
		return 0, err
	}
	v, err := b.store.View(ctx, 0)
	if err != nil {
		return 0, err
	}
	if v.Held() != nil {
		b.found.add(host, reports)
		return v.Revision(), nil
	}
	for from := 0; ; {
		to := fitting(reports, from)
		if rev, err = b.reportSome(ctx, host, reports, from, to); err != nil || to == len(reports) {
			return rev, err
		}
		from = to
	}
}

// catchUp is how long a host's report waits for this controller to be where
// another was.
const catchUp = 5 * time.Second

// reached refuses what is said by one who has seen more than this controller: it
// would drop, as old or already known, what is neither. The host asks another.
func (b *Backend) reached(ctx context.Context, revision int64) error {
	wait, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	if _, err := b.store.View(wait, revision); err != nil {
		if ctx.Err() == nil && wait.Err() != nil {
			return api.NewProblem(503, "unavailable", "", "ask another controller, or this one later", "this controller has not yet heard of revision %d", revision)
		}
		return err
	}
	return nil
}

// reportOps bounds what one commit compares and writes, below the 128 operations
// that etcd allows by default.
const reportOps = 100

// fitting says how far the reports go from there that one commit takes.
func fitting(reports []api.Report, from int) (to int) {
	ops := 0
	for to = from; to < len(reports); to++ {
		// A status compares its own record, its object's and its placement's.
		if ops += 3 + min(len(reports[to].Events), maxEvents); ops > reportOps && to > from {
			break
		}
	}
	return to
}

func (b *Backend) reportSome(ctx context.Context, host string, reports []api.Report, from, to int) (int64, error) {
	return b.store.Commit(ctx, func(v *store.View) (store.Change, error) {
		r := &reporting{view: v, now: b.now().UTC(), log: b.log}
		if r.host = get[*api.Host](v, api.KindHost, host); r.host == nil {
			return store.Change{}, api.NotFound(api.KindHost, host)
		}
		for i := from; i < to; i++ {
			if err := r.add(i, &reports[i]); err != nil {
				return store.Change{}, err
			}
		}
		return r.change, nil
	})
}

// reporting is one batch of reports decided on one view.
type reporting struct {
	view   api.View
	now    time.Time
	log    *slog.Logger
	host   *api.Host
	change store.Change
}

func (r *reporting) add(n int, rep *api.Report) error {
	old, reported, err := r.subject(n, rep)
	if err != nil || old == nil {
		return err
	}
	k, _ := api.KindOf(old)
	if !slices.Contains(k.States, reported.State) {
		return api.NewProblem(422, "invalid_value", fmt.Sprintf("[%d].%s.state", n, rep.Kind), fmt.Sprintf("give one of %v", k.States), "%q is no state of a %s", reported.State, k.Name)
	}
	o := api.Clone(old)
	r.merge(o, rep)
	was, is := old.StatusPtr().GetStatus(), o.StatusPtr().GetStatus()
	is.Conditions = r.conditions(k.Name, was, is)
	before, after := asJSON(old.StatusPtr()), asJSON(o.StatusPtr())
	if len(after) > maxStatus {
		return api.NewProblem(422, "invalid_value", fmt.Sprintf("[%d].%s", n, rep.Kind), "", "a status of %d bytes is more than %d", len(after), maxStatus)
	}
	if before != after {
		r.change.Status = append(r.change.Status, o)
	}
	r.events(old, rep.Events)
	return nil
}

// subject finds what the report is about; nil where it is to be dropped: the
// object is gone, or it was placed anew since.
func (r *reporting) subject(n int, rep *api.Report) (api.Object, *api.Status, error) {
	var instance string
	var o api.Object
	var s *api.Status
	switch {
	case rep.Kind == api.KindHost && rep.Host != nil:
		if rep.ID != r.host.ID {
			return nil, nil, r.notYours(n, rep)
		}
		return r.host, &rep.Host.Status, nil
	case rep.Kind == api.KindInstance && rep.Instance != nil:
		if i := get[*api.Instance](r.view, api.KindInstance, rep.ID); i != nil {
			o, s, instance = i, &rep.Instance.Status, i.ID
		}
	case rep.Kind == api.KindPort && rep.Port != nil:
		if p := get[*api.Port](r.view, api.KindPort, rep.ID); p != nil {
			o, s, instance = p, &rep.Port.Status, p.Spec.Instance
		}
	default:
		return nil, nil, api.NewProblem(422, "invalid_value", fmt.Sprintf("[%d]", n), "give kind host, instance or port, and its status", "a report about %s %q says nothing of it", rep.Kind, rep.ID)
	}
	i := get[*api.Instance](r.view, api.KindInstance, instance)
	if o == nil || i == nil || rep.Epoch < i.Placement.Epoch || rep.Epoch > i.Placement.Epoch && rep.Epoch <= i.Placement.Epochs {
		r.log.Debug("dropped a late report", "host", r.host.Name, "kind", rep.Kind, "id", rep.ID, "epoch", rep.Epoch)
		return nil, nil, nil
	}
	if t := i.Placement.Target; t != nil && t.Host == r.host.ID && rep.Epoch == t.Epoch {
		if rep.Kind == api.KindPort {
			return nil, nil, nil // its present host speaks for it
		}
		return o, s, nil
	}
	if i.Placement.Host != r.host.ID || rep.Epoch != i.Placement.Epoch {
		return nil, nil, r.notYours(n, rep)
	}
	return o, s, nil
}

func (r *reporting) notYours(n int, rep *api.Report) error {
	return api.NewProblem(403, "not_your_host", fmt.Sprintf("[%d].id", n), "report only what is placed on this host", "%s %s is not the host %s's to report", rep.Kind, rep.ID, r.host.Name)
}

// merge puts the reported status in, and what is not the agent's to say.
func (r *reporting) merge(o api.Object, rep *api.Report) {
	switch o := o.(type) {
	case *api.Host:
		o.Status = *rep.Host
		o.Status.Reserved, o.Status.Drain = nil, nil // merged in when a host is read
	case *api.Instance:
		m := merged(o, rep, o.Status.Migration)
		if rep.Epoch != o.Placement.Epoch {
			o.Status.Migration = m // all else is its present host's to say
			return
		}
		o.Status = *rep.Instance
		o.Status.Migration = m
		o.Status.Epoch, o.Status.Host, o.Status.Addresses = rep.Epoch, o.Placement.HostName, addressesOf(o)
	case *api.Port:
		o.Status = *rep.Port
		if o.Status.Host = ""; o.Status.State == api.StateActive {
			o.Status.Host = r.host.ID
		}
	}
}

// merged is how far a move is after a report: the target says what comes in, and
// the present host what goes out.
func merged(i *api.Instance, rep *api.Report, have *api.Migration) *api.Migration {
	t, said := i.Placement.Target, rep.Instance.Migration
	if t == nil {
		return nil
	}
	m := api.Migration{Epoch: t.Epoch}
	if have != nil && have.Epoch == t.Epoch {
		m = *have
	}
	switch {
	case said == nil || said.Epoch != t.Epoch:
		return have
	case rep.Epoch == t.Epoch:
		if m.Incoming = said.Incoming; said.Message != "" {
			m.Message = clip(said.Message)
		}
	default:
		incoming := m.Incoming
		m = *said
		m.Incoming, m.Message = incoming, clip(said.Message)
	}
	return &m
}

func addressesOf(i *api.Instance) (out []string) {
	for _, n := range i.Spec.NICs {
		out = append(out, texts(n.Addresses)...)
	}
	return out
}

func texts(as []api.PortAddress) (out []string) {
	for _, a := range as {
		out = append(out, a.Address.String())
	}
	return out
}

// own are the conditions that the control plane writes; an agent's report neither
// changes nor drops them.
var own = map[string][]string{api.KindInstance: {conditionScheduled, conditionMigrated}, api.KindHost: {conditionReady, conditionDrained}}

// conditions keeps ours, and the times of the agent's that did not change.
func (r *reporting) conditions(kind string, was, is *api.Status) []api.Condition {
	var kept api.Status
	for _, name := range own[kind] {
		if c := was.Condition(name); c != nil {
			kept.Conditions = append(kept.Conditions, *c)
		}
	}
	for _, c := range is.Conditions {
		if slices.Contains(own[kind], c.Type) {
			continue
		}
		if old := was.Condition(c.Type); old != nil && old.OK == c.OK && old.Reason == c.Reason {
			c.Since = old.Since
		} else if c.Since.IsZero() {
			c.Since = r.now
		}
		c.Message = clip(c.Message)
		kept.SetCondition(c)
	}
	return kept.Conditions
}

// These bound what an agent can write in one report: a host that was taken over
// must not fill the store.
const (
	maxEvents = 16
	maxText   = 1024
	maxStatus = 64 << 10
)

// events adds what the agent says has happened. The ID comes from the content,
// so that a report sent twice tells it once.
func (r *reporting) events(o api.Object, specs []api.EventSpec) {
	for _, s := range specs[:min(len(specs), maxEvents)] {
		e := eventAbout(o, "host/"+r.host.Name, clip(s.Reason), clip(s.Message))
		e.Spec.Warning, e.Spec.Time = s.Warning, s.Time
		if s.Time.IsZero() || s.Time.After(r.now) {
			e.Spec.Time = r.now
		}
		sum := sha256.Sum256([]byte(strings.Join([]string{r.host.ID, o.GetMeta().ID, s.Reason, s.Message, s.Time.UTC().Format(time.RFC3339Nano)}, "\x00")))
		w := idEncoding.EncodeToString(sum[:])[:idLength]
		e.ID, e.Name = "evt_"+w, "evt-"+w
		if r.view.Get(api.KindEvent, e.ID) != nil || slices.ContainsFunc(r.change.Events, func(x *api.Event) bool { return x.ID == e.ID }) {
			continue
		}
		completeEvents([]*api.Event{e}, r.now, dice{})
		r.change.Events = append(r.change.Events, e)
	}
}

func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("controller: a status that does not marshal")
	}
	return string(b)
}
