package rest

import (
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

// patchable are the parts of a resource that users write.
var patchable = []string{"name", "labels", "protected", "spec"}

// patchObject changes o as the patch says, its read-only fields already taken out.
func patchObject(k api.Kind, o api.Object, patch map[string]any) error {
	now, err := tree(o)
	if err != nil {
		return err
	}
	part := map[string]any{}
	for _, name := range patchable {
		if v, ok := now[name]; ok {
			part[name] = v
		}
	}
	next := k.New()
	if err := decode(mergePatch(part, patch), next); err != nil {
		return err
	}
	m, n := o.GetMeta(), next.GetMeta()
	m.Name, m.Labels, m.Protected = n.Name, n.Labels, n.Protected
	reflect.ValueOf(o.SpecPtr()).Elem().Set(reflect.ValueOf(next.SpecPtr()).Elem())
	return nil
}
