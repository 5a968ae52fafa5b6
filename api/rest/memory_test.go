package rest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// memory is a Backend for tests of HTTP itself. It keeps what Claims of names and
// tokens ask for, and nothing else: admission, quota and placement are the
// controller's, and are tested there with etcd.
type memory struct {
	mu      sync.Mutex
	rev     int64
	objects map[string]map[string]api.Object // kind → ID
	owners  map[string]string
	history []api.WatchEvent
	oldest  int64 // history before this is compacted
	changed chan struct{}
	idem    map[string]remembered
	uploads map[string][]byte
	writes  int // transactions
	watches int // open
	failing error
}

type remembered struct {
	fingerprint string
	object      api.Object
}

func newMemory() *memory {
	return &memory{rev: 10, objects: map[string]map[string]api.Object{}, owners: map[string]string{}, changed: make(chan struct{}), idem: map[string]remembered{}, uploads: map[string][]byte{}}
}

type memoryView struct {
	rev     int64
	objects map[string]map[string]api.Object
	owners  map[string]string
}

func (m *memory) View(ctx context.Context, atLeast int64) (api.View, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if atLeast > m.rev {
		m.mu.Unlock()
		<-ctx.Done()
		m.mu.Lock()
		return nil, ctx.Err()
	}
	if m.failing != nil {
		return nil, m.failing
	}
	v := &memoryView{rev: m.rev, objects: map[string]map[string]api.Object{}, owners: maps.Clone(m.owners)}
	for k, o := range m.objects {
		v.objects[k] = maps.Clone(o)
	}
	return v, nil
}

func (v *memoryView) Revision() int64 { return v.rev }
func (v *memoryView) Get(kind, id string) api.Object {
	return v.objects[kind][id]
}

func (v *memoryView) Lookup(kind, project, ref string) api.Object {
	if o := v.objects[kind][ref]; o != nil {
		return o
	}
	return v.objects[kind][v.owners["name/"+kind+"/"+project+"/"+ref]]
}

func (v *memoryView) List(kind, project, after string) iter.Seq[api.Object] {
	return func(yield func(api.Object) bool) {
		for _, id := range slices.Sorted(maps.Keys(v.objects[kind])) {
			o := v.objects[kind][id]
			if id > after && (project == "" || o.GetMeta().Project == project) && !yield(o) {
				return
			}
		}
	}
}

func (v *memoryView) Referrers(kind, targetKind, targetID string) iter.Seq[api.Object] {
	return func(yield func(api.Object) bool) {
		for o := range v.List(kind, "", "") {
			for _, r := range o.Claims().Refs {
				if r.Kind == targetKind && r.ID == targetID && !yield(o) {
					return
				}
			}
		}
	}
}
func (v *memoryView) Owner(key string) string      { return v.owners[key] }
func (v *memoryView) Used(string) map[string]int64 { return nil }
func (v *memoryView) Alive(string) bool            { return true }
func (v *memoryView) Life(string) int64            { return 1 }
func (v *memoryView) Fence(string) *api.Fence      { return nil }

// commit writes under the lock and tells the watchers.
func (m *memory) commit(typ string, o api.Object) {
	m.rev++
	m.writes++
	k, _ := api.KindOf(o)
	if m.objects[k.Name] == nil {
		m.objects[k.Name] = map[string]api.Object{}
	}
	id := o.GetMeta().ID
	if old := m.objects[k.Name][id]; old != nil {
		for _, u := range old.Claims().Unique {
			delete(m.owners, u.Key)
		}
	}
	if typ == api.EventDelete {
		delete(m.objects[k.Name], id)
	} else {
		o.GetMeta().Revision = m.rev
		if k.Immediate {
			*o.StatusPtr().GetStatus() = api.Status{State: api.StateReady, ObservedGeneration: o.GetMeta().Generation}
		}
		m.objects[k.Name][id] = o
		for _, u := range o.Claims().Unique {
			m.owners[u.Key] = id
		}
	}
	m.tell(typ, k.Name, o)
}

func (m *memory) tell(typ, kind string, o api.Object) {
	m.history = append(m.history, api.WatchEvent{Cursor: api.Cursor{Revision: m.rev, Index: 0}, Type: typ, Kind: kind, Object: o})
	close(m.changed)
	m.changed = make(chan struct{})
}

// status changes an object's status, as an agent does: its revision stays.
func (m *memory) status(kind, id string, change func(*api.Status)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rev++
	o := api.Clone(m.objects[kind][id])
	change(o.StatusPtr().GetStatus())
	m.objects[kind][id] = o
	m.tell(api.EventPut, kind, o)
}

func (m *memory) compact() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.oldest = m.rev
}

func (m *memory) Watch(ctx context.Context, kind string, after api.Cursor) iter.Seq2[api.WatchEvent, error] {
	return func(yield func(api.WatchEvent, error) bool) {
		m.mu.Lock()
		m.watches++
		m.mu.Unlock()
		defer func() { m.mu.Lock(); m.watches--; m.mu.Unlock() }()
		next := 0
		for {
			m.mu.Lock()
			oldest, events, changed, rev := m.oldest, m.history[next:], m.changed, m.rev
			next = len(m.history)
			m.mu.Unlock()
			if after.Revision < oldest {
				yield(api.WatchEvent{}, api.NewProblem(410, "history_compacted", "", "list again", "history begins at %d", oldest))
				return
			}
			for _, e := range events {
				newer := e.Cursor.Revision > after.Revision || e.Cursor.Revision == after.Revision && e.Cursor.Index > after.Index
				if newer && (kind == "" || e.Kind == kind) {
					after = e.Cursor
					if !yield(e, nil) {
						return
					}
				}
			}
			after = api.Cursor{Revision: max(rev, after.Revision), Index: 1 << 20}
			if !yield(api.WatchEvent{Type: api.EventBookmark, Cursor: after}, nil) {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (m *memory) write(w api.Write, decide func() (typ string, o api.Object, err error)) (api.Written, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := w.Principal.Token + "/" + w.IdempotencyKey
	if w.IdempotencyKey != "" {
		if r, ok := m.idem[key]; ok {
			if r.fingerprint != w.Fingerprint {
				return api.Written{}, api.NewProblem(409, "idempotency_key_reused", "", "use a new key", "the key was used for another request")
			}
			return api.Written{Object: r.object, Replayed: true, Revision: m.rev}, nil
		}
	}
	typ, o, err := decide()
	if err != nil {
		return api.Written{}, err
	}
	if w.DryRun {
		return api.Written{Object: o, Preview: &api.Preview{Host: "h1", Reason: "it is the only one"}, Revision: m.rev}, nil
	}
	m.commit(typ, o)
	if typ == api.EventDelete {
		o = nil
	}
	if w.IdempotencyKey != "" {
		m.idem[key] = remembered{w.Fingerprint, o}
	}
	return api.Written{Object: o, Revision: m.rev}, nil
}

func (m *memory) Create(_ context.Context, w api.Write, o api.Object) (api.Written, error) {
	return m.write(w, func() (string, api.Object, error) {
		k, _ := api.KindOf(o)
		meta := o.GetMeta()
		meta.ID = fmt.Sprintf("%s_%06d", k.IDPrefix, m.rev)
		meta.Generation = 1
		meta.CreatedAt = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		meta.UpdatedAt = meta.CreatedAt
		if t, ok := o.(*api.Token); ok && t.Spec.SecretSHA256 == "" {
			t.Spec.SecretSHA256 = meta.ID // any digest will do that nobody's secret has
		}
		for _, u := range o.Claims().Unique {
			if m.owners[u.Key] != "" {
				return "", nil, api.NewProblem(409, u.Code, u.Field, "choose another", "%s is taken", u.Field)
			}
		}
		return api.EventPut, o, nil
	})
}

func (m *memory) Update(_ context.Context, w api.Write, kind, id string, change func(api.Object) error) (api.Written, error) {
	return m.write(w, func() (string, api.Object, error) {
		old := m.objects[kind][id]
		if old == nil {
			return "", nil, api.NotFound(kind, id)
		}
		o := api.Clone(old)
		if err := change(o); err != nil {
			return "", nil, err
		}
		o.GetMeta().Generation++
		o.GetMeta().UpdatedAt = o.GetMeta().UpdatedAt.Add(time.Second)
		return api.EventPut, o, nil
	})
}

func (m *memory) Delete(_ context.Context, w api.Write, kind, id string, _ bool) (api.Written, error) {
	return m.write(w, func() (string, api.Object, error) {
		o := m.objects[kind][id]
		switch {
		case o == nil:
			return "", nil, api.NotFound(kind, id)
		case w.IfMatch != 0 && w.IfMatch != o.GetMeta().Revision:
			return "", nil, api.NewProblem(412, "precondition_failed", "", "get it again", "it was changed")
		case len(o.GetMeta().Finalizers) > 0:
			o = api.Clone(o)
			at := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
			o.GetMeta().DeletedAt = &at
			return api.EventPut, o, nil
		}
		return api.EventDelete, o, nil
	})
}

func (m *memory) Join(_ context.Context, r api.JoinRequest) (api.JoinResponse, error) {
	return api.JoinResponse{HostID: "hst_" + r.Name, Certificate: r.CSR}, nil
}

func (m *memory) Renew(_ context.Context, host, _ string) (api.JoinResponse, error) {
	return api.JoinResponse{HostID: host}, nil
}

func (m *memory) Heartbeat(context.Context, string) (int64, error) { return 1, nil }

func (m *memory) Report(context.Context, string, int64, []api.Report) (int64, error) { return 0, nil }

func (m *memory) Desired(ctx context.Context, host string, seen int64, tick <-chan time.Time) iter.Seq2[[]api.DesiredItem, error] {
	return func(yield func([]api.DesiredItem, error) bool) {
		items := []api.DesiredItem{{Op: "set", Kind: "host", ID: host}, {Op: "synced", Revision: m.rev}}
		for yield(items, nil) {
			items = nil
			select {
			case <-tick:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (m *memory) Upload(_ context.Context, i *api.Image, offset int64, complete bool, r io.Reader) (int64, error) {
	m.mu.Lock()
	have := m.uploads[i.ID]
	m.mu.Unlock()
	if int64(len(have)) != offset {
		return 0, api.NewProblem(409, "upload_offset_mismatch", "Upload-Offset", "ask by HEAD", "%d bytes are here", len(have))
	}
	b, err := io.ReadAll(r)
	m.mu.Lock()
	late := len(m.uploads[i.ID]) != len(have) // another request went on from there
	if !late {
		m.uploads[i.ID] = append(have, b...)
	}
	m.mu.Unlock()
	if late {
		return 0, api.NewProblem(409, "upload_offset_mismatch", "Upload-Offset", "ask by HEAD", "more bytes are here by now")
	}
	if err != nil {
		return 0, api.NewProblem(400, "body_unreadable", "", "go on from where it broke", "the body broke off")
	}
	if complete {
		m.mu.Lock()
		defer m.mu.Unlock()
		o := api.Clone(m.objects[api.KindImage][i.ID].(*api.Image))
		sum := sha256.Sum256(m.uploads[i.ID])
		o.Status = api.ImageStatus{Status: api.Status{State: api.StateReady, ObservedGeneration: 1}, SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(m.uploads[i.ID]))}
		m.objects[api.KindImage][i.ID] = o
	}
	return offset + int64(len(b)), nil
}

func (m *memory) Received(_ context.Context, i *api.Image) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.uploads[i.ID])), nil
}

type closer struct{ io.ReadSeeker }

func (closer) Close() error { return nil }

func (m *memory) Blob(_ context.Context, i *api.Image) (io.ReadSeekCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return closer{bytes.NewReader(m.uploads[i.ID])}, nil
}

func (m *memory) ConsoleLog(_ context.Context, i *api.Instance, limit int64) (io.ReadCloser, error) {
	if i.Name == "panics" {
		panic("a secret that no client may read")
	}
	if i.Name == "breaks" {
		return nil, errors.New("a secret that no client may read")
	}
	return io.NopCloser(strings.NewReader("login: " + i.Name)), nil
}

func (m *memory) HostNetwork(_ context.Context, h *api.Host) (api.NetworkReport, error) {
	return api.NetworkReport{Desired: []string{"host: link a of " + h.Name}, Actual: []string{}, Drift: []api.NetworkDrift{{Field: "link a", Desired: "there", Actual: "absent"}}}, nil
}

func (m *memory) Trace(_ context.Context, p *api.Port, q api.TraceQuery) (api.Trace, error) {
	return api.Trace{Passes: q.Port == 443, End: fmt.Sprintf("%s %s %d", q.To, q.Protocol, q.Port), Hops: []api.TraceHop{{Host: "h1", Where: "link", What: p.Name}}}, nil
}

func (m *memory) Controllers(context.Context) ([]api.Controller, error) {
	return []api.Controller{{Name: "a", State: api.StateReady, Leads: true, Member: "1"}}, nil
}

func (m *memory) RemoveController(_ context.Context, name string) error {
	return api.NewProblem(404, "not_found", "", "", "there is no controller %s", name)
}

func (m *memory) JoinController(_ context.Context, r api.JoinControllerRequest) (api.JoinControllerResponse, error) {
	return api.JoinControllerResponse{CA: "the CA and its key", PeerURLs: []string{r.PeerURL}}, nil
}

func (m *memory) Backup(_ context.Context, w io.Writer) error {
	_, err := w.Write([]byte("a backup"))
	return err
}

func (m *memory) Check(context.Context) (api.Check, error) { return api.Check{Held: true}, nil }

func (m *memory) Accept(_ context.Context, force bool) (api.Check, error) {
	if !force {
		return api.Check{}, api.NewProblem(409, "hosts_silent", "", "", "one has said nothing")
	}
	return api.Check{}, nil
}
