package store

import (
	"context"
	"sync"
)

// mirror publishes the copy in memory, revision by revision.
type mirror struct {
	mu      sync.Mutex
	now     *View
	changed chan struct{} // closed when now is replaced
	closed  chan struct{} // closed when the feed has ended
}

func newMirror() *mirror {
	return &mirror{now: &View{t: newTables()}, changed: make(chan struct{}), closed: make(chan struct{})}
}

func (m *mirror) view() *View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// publish replaces the picture. The tables must not be changed afterwards.
func (m *mirror) publish(t *tables, rev int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = &View{t: t, rev: rev}
	close(m.changed)
	m.changed = make(chan struct{})
}

// wait returns the first picture at hand that is at least as new as rev.
func (m *mirror) wait(ctx context.Context, rev int64) (*View, error) {
	for {
		m.mu.Lock()
		now, changed := m.now, m.changed
		m.mu.Unlock()
		if now.rev >= rev {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-m.closed:
			return nil, ErrClosed
		}
	}
}
