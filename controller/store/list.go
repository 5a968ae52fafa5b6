package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

// listPage is how many records one read brings.
const listPage = 2000

// load makes the copy from a listing. It lists the past where it can, so that
// what was changed since then is in the history and watchers go on over a
// restart of this process.
func (s *Etcd) load(ctx context.Context, past int64) error {
	now, err := s.client.Get(ctx, schemaKey, clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("read the store's revision: %w", err)
	}
	rev := max(now.Header.Revision-past, 1)
	t, err := s.listAt(ctx, rev)
	if errors.Is(err, rpctypes.ErrCompacted) {
		if rev, err = s.compacted(ctx, rev); err == nil {
			t, err = s.listAt(ctx, rev)
		}
	}
	if err != nil {
		return fmt.Errorf("list the store at revision %d: %w", rev, err)
	}
	s.history.reset(rev)
	s.mirror.publish(t, rev)
	return nil
}

// compacted asks where history begins, which a watch is told and a read is not.
func (s *Etcd) compacted(ctx context.Context, rev int64) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for r := range s.client.Watch(ctx, schemaKey, clientv3.WithRev(rev), clientv3.WithCreatedNotify()) {
		if r.CompactRevision != 0 {
			return r.CompactRevision, nil
		}
		if err := r.Err(); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("find where history begins: %w", ctx.Err())
}

func (s *Etcd) listAt(ctx context.Context, rev int64) (*tables, error) {
	t := newTables()
	for _, p := range listed {
		end := clientv3.GetPrefixRangeEnd(p)
		for from := p; ; {
			r, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithRev(rev), clientv3.WithLimit(listPage))
			if err != nil {
				return nil, err
			}
			for _, kv := range r.Kvs {
				s.apply(t, &clientv3.Event{Type: mvccpb.Event_PUT, Kv: kv})
			}
			if !r.More {
				break
			}
			from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
		}
	}
	return t, nil
}

// touched is an object that a revision changed.
type touched struct {
	kind kindNo
	id   string
}

// subject tells which object a key is about.
func subject(key string) (on touched, p part) {
	kind, ok := "", false
	switch {
	case strings.HasPrefix(key, specPrefix):
		kind, on.id, ok = parseSpecKey(key[len(specPrefix):])
		p = partSpec
	case strings.HasPrefix(key, statusPrefix):
		kind, on.id, ok = parseStatusKey(key[len(statusPrefix):])
		p = partStatus
	case strings.HasPrefix(key, placementPrefix):
		kind, on.id, ok = api.KindInstance, key[len(placementPrefix):], true
		p = partPlacement
	case strings.HasPrefix(key, alivePrefix):
		kind, on.id, ok = api.KindHost, key[len(alivePrefix):], true
	case strings.HasPrefix(key, lifePrefix):
		kind, on.id, ok = api.KindHost, key[len(lifePrefix):], true
	case strings.HasPrefix(key, fencePrefix):
		kind, on.id, ok = api.KindHost, key[len(fencePrefix):], true
	}
	if !ok {
		return touched{}, p
	}
	on.kind = kindNoOf(kind)
	return on, p
}

// apply puts one change of one key into the tables, and tells whether readers
// see its object changed. What cannot be read is logged and left out: one bad record must not take
// the whole cloud away.
func (s *Etcd) apply(t *tables, e *clientv3.Event) bool {
	key := string(e.Kv.Key)
	on, p := subject(key)
	var err error
	changed := on.id != ""
	switch {
	case !changed:
		err = s.applyOther(t, key, e)
	case strings.HasPrefix(key, alivePrefix):
		changed = applyAlive(t, on.id, e)
	case strings.HasPrefix(key, lifePrefix) && e.Type == mvccpb.Event_DELETE:
		t.lives.Delete(on.id)
	case strings.HasPrefix(key, lifePrefix):
		t.lives.Set(on.id, e.Kv.ModRevision)
	case strings.HasPrefix(key, fencePrefix):
		err = applyFence(t, on.id, e)
	default:
		err = s.applyRecord(t, p, on, e)
	}
	if err != nil {
		s.log.Error("a record in the store was left out", "key", key, "revision", e.Kv.ModRevision, "err", err)
		return false
	}
	return changed
}

func (s *Etcd) applyRecord(t *tables, p part, on touched, e *clientv3.Event) error {
	if on.kind == noKind {
		return errors.New("this binary knows no such kind")
	}
	k := api.Kinds[on.kind]
	old := t.get(on.kind, on.id)
	if e.Type == mvccpb.Event_DELETE {
		switch {
		case old == nil:
		case p == partSpec:
			t.delete(old, old.claims())
		default:
			t.replace(old, old.with(k, p, nil, 0, 0), p)
		}
		return nil
	}
	o, schema, err := decode(k, e.Kv.Value)
	if err != nil {
		return err
	}
	if p == partSpec && o.GetMeta().ID != on.id {
		return fmt.Errorf("it says that it is %q", o.GetMeta().ID)
	}
	if p != partSpec && old == nil {
		return errors.New("its object has no specification")
	}
	if on.kind == eventNo {
		t.put(rawEntry(string(e.Kv.Value), o, e.Kv.ModRevision, schema), api.Claims{}, api.Claims{})
		return nil
	}
	n := old.with(k, p, o, e.Kv.ModRevision, schema)
	s.detector.add(n.obj)
	t.replace(old, n, p)
	return nil
}

// replace puts an object of which one part was changed in the place of the one
// that there was, if any.
func (t *tables) replace(old, now *entry, p part) {
	var was, is api.Claims
	if p != partStatus {
		is = now.claims()
		if old != nil {
			was = old.claims()
		}
	}
	t.put(now, was, is)
}

func (i *Idempotency) remembered(mod int64) *remembered {
	return &remembered{fingerprint: i.Fingerprint, id: i.ID, kind: kindNoOf(i.Kind), refused: i.Refused, mod: mod}
}

func applyAlive(t *tables, host string, e *clientv3.Event) (changed bool) {
	_, was := t.alive.Get(host)
	if e.Type == mvccpb.Event_DELETE {
		t.alive.Delete(host)
	} else {
		t.alive.Set(host, string(e.Kv.Value))
	}
	return was != (e.Type == mvccpb.Event_PUT)
}

func applyFence(t *tables, host string, e *clientv3.Event) error {
	if e.Type == mvccpb.Event_DELETE {
		t.fences.Delete(host)
		return nil
	}
	f := fence{mod: e.Kv.ModRevision}
	if err := json.Unmarshal(e.Kv.Value, &f.Fence); err != nil {
		return err
	}
	t.fences.Set(host, f)
	return nil
}

func (s *Etcd) applyOther(t *tables, key string, e *clientv3.Event) error {
	gone := e.Type == mvccpb.Event_DELETE
	switch {
	case strings.HasPrefix(key, countPrefix):
		name := key[len(countPrefix):]
		if gone {
			t.counts.Delete(name)
			return nil
		}
		c := count{mod: e.Kv.ModRevision}
		if err := json.Unmarshal(e.Kv.Value, &c.amounts); err != nil {
			return err
		}
		t.counts.Set(name, c)
	case strings.HasPrefix(key, idemPrefix):
		name := key[len(idemPrefix):]
		if gone {
			t.idem.Delete(name)
			return nil
		}
		var i Idempotency
		if err := json.Unmarshal(e.Kv.Value, &i); err != nil {
			return err
		}
		t.idem.Set(name, i.remembered(e.Kv.ModRevision))
	case strings.HasPrefix(key, livePrefix):
		return applyLive(t, key[len(livePrefix):], gone, e.Kv.Value)
	case strings.HasPrefix(key, electionPrefix) && gone:
		s.leaders.lost(key)
	case key == schemaKey:
		return applySchema(t, gone, e.Kv)
	case key == heldKey:
		return applyHeld(t, gone, e.Kv)
	}
	return nil
}
