package store

import (
	"encoding/json"
	"fmt"

	"github.com/cairn-cloud/cairn/api"
)

// fences adds to the delta the fences that a change makes, and those that it
// relies on.
func (x *editor) fences(c Change) error {
	for _, f := range c.Fences {
		if x.st.t.get(hostNo, f.Host) == nil {
			return api.NotFound(api.KindHost, f.Host)
		}
		life, _ := x.st.t.lives.Get(f.Host)
		if _, alive := x.st.t.alive.Get(f.Host); alive || life != f.Life {
			return fmt.Errorf("fence %s of the life %d: it came alive at %d: %w", f.Host, f.Life, life, ErrStale)
		}
		value, err := json.Marshal(f)
		if err != nil {
			return fmt.Errorf("fence %s: %w", f.Host, err)
		}
		x.d.need(alivePrefix+f.Host, 0)
		x.d.need(lifePrefix+f.Host, f.Life)
		x.d.when(condition{key: x.st.t.get(hostNo, f.Host).key(partSpec), exists: true})
		x.d.put(fencePrefix+f.Host, string(value))
		x.st.fence(f)
	}
	for _, host := range c.Fenced {
		f, ok := x.st.base.t.fences.Get(host)
		if !ok {
			return fmt.Errorf("rely on the fence of %s: there is none: %w", host, ErrStale)
		}
		x.d.need(fencePrefix+host, f.mod)
	}
	return nil
}

func (st *stage) fence(f *api.Fence) {
	old, had := st.t.fences.Get(f.Host)
	st.own(func() {
		if had {
			st.t.fences.Set(f.Host, old)
		} else {
			st.t.fences.Delete(f.Host)
		}
	}).fences.Set(f.Host, fence{*f, st.pending()})
}

// forget drops what is known of a host beside its records.
func (st *stage) forget(host string) {
	life, lived := st.t.lives.Get(host)
	f, fenced := st.t.fences.Get(host)
	t := st.own(func() {
		if lived {
			st.t.lives.Set(host, life)
		}
		if fenced {
			st.t.fences.Set(host, f)
		}
	})
	t.lives.Delete(host)
	t.fences.Delete(host)
}
