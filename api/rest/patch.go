package rest

import (
	"fmt"
	"reflect"

	"github.com/cairn-cloud/cairn/api"
)

// mergePatch applies a merge patch (RFC 7396) to a value, which it may change.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for k, v := range p {
		if v == nil {
			delete(t, k)
			continue
		}
		t[k] = mergePatch(t[k], v)
	}
	return t
}

// patchObject changes o as the patch says, its read-only fields already taken
// out. Only the parts of the resource that the patch is about are read and written.
func patchObject(k api.Kind, o api.Object, patch map[string]any) error {
	next := k.New()
	m, n := o.GetMeta(), next.GetMeta()
	parts := []struct {
		name string
		now  any
		put  func()
	}{
		{"name", m.Name, func() { m.Name = n.Name }},
		{"labels", m.Labels, func() { m.Labels = n.Labels }},
		{"protected", m.Protected, func() { m.Protected = n.Protected }},
		{"spec", o.SpecPtr(), func() { reflect.ValueOf(o.SpecPtr()).Elem().Set(reflect.ValueOf(next.SpecPtr()).Elem()) }},
	}
	now := map[string]any{}
	for _, p := range parts {
		if _, asked := patch[p.name]; asked {
			var err error
			if now[p.name], err = tree(p.now); err != nil {
				return fmt.Errorf("read back the %s of %s: %w", p.name, m.ID, err)
			}
		}
	}
	if err := decode(mergePatch(now, patch), next); err != nil {
		return err
	}
	for _, p := range parts {
		if _, asked := patch[p.name]; asked {
			p.put()
		}
	}
	return nil
}
