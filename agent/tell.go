package agent

import (
	"fmt"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/network"
)

// driftRepaired is the reason of the event that tells of drift that was put right.
const driftRepaired = "DriftRepaired"

// toldAgain is how long the same drift of the network is not told again.
const toldAgain = time.Minute

// tell tells of an action that was done, where somebody should know.
func (l *loop) tell(id string, a Action) {
	if r, ok := a.(repairing); ok && len(r.repairs()) > 0 {
		l.event(id, api.EventSpec{Warning: true, Reason: driftRepaired, Message: describe(r.repairs()), Time: l.o.Now()})
	}
	switch a := a.(type) {
	case NoteOrphan:
		l.hostEvent("OrphanFound", "%s carries Cairn's mark and no record owns it: it is kept in quarantine", a.Orphan.Instance)
	case SetAside:
		l.hostEvent("OrphanSetAside", "%s is placed here anew: the files that it had here before are kept in quarantine", a.Orphan.Instance)
	case ForgetOrphan:
		l.hostEvent("OrphanEnded", "the quarantine of %s has ended: %s", a.Orphan, a.Why)
	}
}

func (l *loop) hostEvent(reason, format string, args ...any) {
	l.hostEvents = append(l.hostEvents, api.EventSpec{Warning: true, Reason: reason, Message: fmt.Sprintf(format, args...), Time: l.o.Now()})
}

// applied takes what making the network found to differ. That is drift where the
// same was made before. Of what was there before this agent was, only what should
// not be is.
func (l *loop) applied(want network.Desired, found []network.Difference, err error) {
	switch {
	case l.tried == nil:
		found = extra(found)
	case !equalNetworks(*l.tried, want):
		found = nil
	}
	if err != nil {
		l.netDrift = l.unrepaired(found, err)
		return
	}
	l.netDrift, l.tried = nil, &want
	l.tellNetwork(found)
}

// extra are the differences that are something too many.
func extra(ds []network.Difference) (out []network.Difference) {
	for _, d := range ds {
		if d.Want == network.Absent {
			out = append(out, d)
		}
	}
	return out
}

// unrepaired is what is shown of differences that could not be put right.
func (l *loop) unrepaired(ds []network.Difference, err error) (out []api.Drift) {
	for _, d := range ds {
		out = append(out, api.Drift{Field: d.Field, Desired: d.Want, Actual: d.Is, Repair: "it is tried again by itself: " + err.Error()})
	}
	return since(out, l.netDrift, l.o.Now())
}

// tellNetwork tells what of the network was put right: of a tap at its instance,
// of all else at the host.
func (l *loop) tellNetwork(ds []network.Difference) {
	now, owner := l.o.Now(), map[string]string{}
	for id, p := range l.desired.want.Ports {
		if p.Local {
			owner[network.Tap(id)] = p.Instance
		}
	}
	for field, at := range l.told {
		if now.Sub(at) >= toldAgain {
			delete(l.told, field)
		}
	}
	for n, d := range ds {
		if n == api.DriftMax {
			l.hostEvent(driftRepaired, "and %d more", len(ds)-n)
			return
		}
		if _, told := l.told[d.Field]; told {
			continue
		}
		l.told[d.Field] = now
		what := describe([]api.Drift{{Field: d.Field, Desired: d.Want, Actual: d.Is}})
		if id := owner[d.Link]; id != "" {
			l.event(id, api.EventSpec{Warning: true, Reason: driftRepaired, Message: what, Time: now})
		} else {
			l.hostEvent(driftRepaired, "%s", what)
		}
	}
}
