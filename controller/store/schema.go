package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

// controllerInfo is what a controller says of itself, under its session's lease.
type controllerInfo struct {
	Schema int    `json:"schema"` // the newest that it reads and writes
	Name   string `json:"name,omitempty"`
	API    string `json:"api,omitempty"`
}

// newestSchema is the newest version of the records that this binary knows.
func newestSchema() int {
	n := 1
	for _, k := range api.Kinds {
		n = max(n, k.Schema)
	}
	return n
}

// inForce is the version in which records of the kind are written.
func (r schemaRow) inForce(k api.Kind) int { return max(1, min(k.Schema, r.version)) }

func applySchema(t *tables, gone bool, kv *mvccpb.KeyValue) error {
	if gone {
		t.schema = schemaRow{}
		return nil
	}
	n, err := strconv.Atoi(string(kv.Value))
	if err != nil {
		return err
	}
	t.schema = schemaRow{version: n, mod: kv.ModRevision}
	return nil
}

func applyLive(t *tables, id string, gone bool, value []byte) error {
	if gone {
		t.live.Delete(id)
		return nil
	}
	var c controllerInfo
	if err := json.Unmarshal(value, &c); err != nil {
		return err
	}
	t.live.Set(id, c)
	return nil
}

// register says that this controller is there, if the cluster's schema is not
// newer than what it knows. The first one of a new cluster says what is written.
func (s *Etcd) register(ctx context.Context, lease clientv3.LeaseID) error {
	me, err := json.Marshal(controllerInfo{Schema: s.newest, Name: s.opts.Name, API: s.opts.API})
	if err != nil {
		return err
	}
	for {
		r, err := s.client.Get(ctx, schemaKey)
		if err != nil {
			return fmt.Errorf("read the schema in force: %w", err)
		}
		row := schemaRow{}
		ops := []clientv3.Op{clientv3.OpPut(livePrefix+s.id, string(me), clientv3.WithLease(lease))}
		if len(r.Kvs) == 0 {
			ops = append(ops, clientv3.OpPut(schemaKey, strconv.Itoa(s.newest)))
		} else if row.version, err = strconv.Atoi(string(r.Kvs[0].Value)); err != nil {
			return fmt.Errorf("read the schema in force: %w", err)
		} else {
			row.mod = r.Kvs[0].ModRevision
		}
		if row.version > s.newest {
			return fmt.Errorf("the cluster writes records of schema %d, and this binary knows none newer than %d: run a newer release, or restore a backup from before the upgrade", row.version, s.newest)
		}
		done, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(schemaKey), "=", row.mod)).Then(ops...).Commit()
		if err != nil {
			return fmt.Errorf("register the controller: %w", err)
		}
		if done.Succeeded {
			_, err := s.mirror.wait(ctx, done.Header.Revision)
			return err
		}
	}
}

// tendSchema raises the schema in force as soon as every live controller
// knows a newer one, and writes stale records again. It ends with the leadership.
func (s *Etcd) tendSchema(ctx context.Context) {
	swept := int64(-1)
	for ctx.Err() == nil {
		v := s.mirror.view()
		err := s.raise(ctx, v)
		if now := s.mirror.view().t.schema.mod; err == nil && now != swept {
			if err = s.sweep(ctx); err == nil {
				swept = now
			}
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			s.log.Warn("the schema gate could not be tended", "err", err)
			pause(ctx, retryAfter)
			continue
		}
		// What matters here changes when a controller comes or goes.
		if !s.waitControllers(ctx, v) {
			return
		}
	}
}

// waitControllers waits until controllers or the schema differ from the view's.
func (s *Etcd) waitControllers(ctx context.Context, v *View) bool {
	for {
		n, err := s.mirror.wait(ctx, v.rev+1)
		if err != nil {
			return false
		}
		if n.t.schema != v.t.schema || lowest(n.t) != lowest(v.t) {
			return true
		}
		v = n
	}
}

// lowest is the newest schema that every live controller knows.
func lowest(t *tables) int {
	n := 0
	t.live.Scan(func(_ string, c controllerInfo) bool {
		if n == 0 || c.Schema < n {
			n = c.Schema
		}
		return true
	})
	return n
}

func (s *Etcd) raise(ctx context.Context, v *View) error {
	for {
		to := lowest(v.t)
		if to <= v.t.schema.version {
			return nil
		}
		// No controller may have come since: it could know less.
		r, err := s.client.Txn(ctx).If(
			clientv3.Compare(clientv3.ModRevision(schemaKey), "=", v.t.schema.mod),
			clientv3.Compare(clientv3.ModRevision(livePrefix).WithPrefix(), "<", v.rev+1),
		).Then(clientv3.OpPut(schemaKey, strconv.Itoa(to))).Commit()
		if err != nil {
			return fmt.Errorf("raise the schema to %d: %w", to, err)
		}
		if r.Succeeded {
			s.log.Info("records are written in a newer schema from now on", "schema", to)
			_, err := s.mirror.wait(ctx, r.Header.Revision)
			return err
		}
		if v, err = s.mirror.wait(ctx, v.rev+1); err != nil {
			return err
		}
	}
}

// sweepChunk is how many objects one transaction of the sweep rewrites.
const sweepChunk = 20

// sweep writes again what is stored in an older schema than the one in force.
func (s *Etcd) sweep(ctx context.Context) error {
	for {
		left := false
		_, err := s.Commit(ctx, func(v *View) (Change, error) {
			c := Change{WhileHeld: true}
			left = false
			v.t.objects.Scan(func(e *entry) bool {
				if len(c.rewrite) == sweepChunk {
					left = true
					return false
				}
				if e.kind != eventNo && e.stale(v.t.schema.inForce(api.Kinds[e.kind])) {
					c.rewrite = append(c.rewrite, e.obj)
				}
				return true
			})
			return c, nil
		})
		if err != nil || !left {
			return err
		}
	}
}

func (e *entry) stale(inForce int) bool {
	for p, mod := range e.mod {
		if mod != 0 && int(e.schema[p]) < inForce {
			return true
		}
	}
	return false
}
