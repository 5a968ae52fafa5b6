package controller

import (
	"cmp"
	"context"
	"slices"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/store"
)

func (f *feeds) open(host string) *feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &feed{host: host, woken: make(chan struct{}, 1), dirty: map[item]bool{}, all: true}
	subscribe(f.byHost, host, s)
	return s
}

func (f *feeds) closeFeed(s *feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	unsubscribe(f.byHost, s.host, s)
	for n := range s.around.nets {
		unsubscribe(f.byNet, n, s)
	}
	for g := range s.around.groups {
		unsubscribe(f.byGroup, g, s)
	}
}

func subscribe(m map[string]map[*feed]bool, key string, s *feed) {
	if m[key] == nil {
		m[key] = map[*feed]bool{}
	}
	m[key][s] = true
}

func unsubscribe(m map[string]map[*feed]bool, key string, s *feed) {
	delete(m[key], s)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// next takes what is dirty and returns what differs from what was sent.
func (f *feeds) next(ctx context.Context, s *feed, sent *told, first bool) ([]api.DesiredItem, error) {
	dirty, all, tell := f.take(s)
	v, err := f.store.View(ctx, 0)
	if err != nil {
		return nil, err
	}
	if v.Held() != nil {
		return nil, store.ErrHeld
	}
	if v.Get(api.KindHost, s.host) == nil {
		return nil, api.NotFound(api.KindHost, s.host)
	}
	around := surroundingsOf(v, s.host)
	came, went, groups := f.subscribeTo(s, around)
	add(dirty, groups)
	if len(came)+len(went)+len(groups) > 0 {
		// Changes of what came are heard of from here on, so what a newer view shows,
		// together with them, is all.
		if v, err = f.store.View(ctx, v.Revision()); err != nil {
			return nil, err
		}
		for _, n := range came {
			add(dirty, networkItems(v, n))
		}
		for _, n := range went {
			dirty[item{api.KindNetwork, n}] = true
			sent.inNetwork(n, dirty)
		}
	}
	if all {
		add(dirty, everything(v, s.host, around))
		sent.all(dirty)
	}
	items := difference(v, s.host, around, dirty, sent)
	for _, n := range went {
		sent.forget(n)
	}
	if first || tell || len(items) > 0 {
		items = append(items, api.DesiredItem{Op: "synced", Revision: v.Revision()})
	}
	return items, nil
}

func add(dirty map[item]bool, items []item) {
	for _, at := range items {
		dirty[at] = true
	}
}

func (f *feeds) take(s *feed) (dirty map[item]bool, all, tell bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dirty, all, tell = s.dirty, s.all, s.tell
	s.dirty, s.all, s.tell = map[item]bool{}, false, false
	return dirty, all, tell
}

// subscribeTo makes the stream hear of what is around its host, and returns the
// networks that came and went, and the groups that did either.
func (f *feeds) subscribeTo(s *feed, around surroundings) (came, went []string, groups []item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	came, went = resubscribe(f.byNet, s, s.around.nets, around.nets)
	in, out := resubscribe(f.byGroup, s, s.around.groups, around.groups)
	for _, g := range append(in, out...) {
		groups = append(groups, item{api.KindSecurityGroup, g})
	}
	s.around = around
	return came, went, groups
}

// resubscribe makes a stream hear of other things of a kind, and returns how they differ.
func resubscribe(m map[string]map[*feed]bool, s *feed, was, now map[string]bool) (came, went []string) {
	for id := range now {
		if !was[id] {
			came = append(came, id)
			subscribe(m, id, s)
		}
	}
	for id := range was {
		if !now[id] {
			went = append(went, id)
			unsubscribe(m, id, s)
		}
	}
	return came, went
}

// order in which a host is told: what is needed first.
var itemOrder = map[string]int{api.KindHost: 0, api.KindNetwork: 1, api.KindSecurityGroup: 2, api.KindPort: 3, api.KindFloatingIP: 4, api.KindInstance: 5}

// difference compares what is dirty with what was sent, and notes it as sent.
func difference(v api.View, host string, around surroundings, dirty map[item]bool, sent *told) []api.DesiredItem {
	var items []api.DesiredItem
	for at := range dirty {
		want := desiredItem(v, host, around, at)
		switch {
		case !sent.tell(at, want):
		case want == nil:
			items = append(items, api.DesiredItem{Op: "delete", Kind: at.kind, ID: at.id})
		default:
			items = append(items, *want)
		}
	}
	slices.SortFunc(items, func(a, b api.DesiredItem) int {
		return cmp.Or(cmp.Compare(itemOrder[a.Kind], itemOrder[b.Kind]), cmp.Compare(a.ID, b.ID))
	})
	return items
}
