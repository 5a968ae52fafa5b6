package api_test

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// sealed are the structs with fields that are not exported: values, of which
// nobody can change the inside.
var sealed = map[reflect.Type]bool{reflect.TypeFor[time.Time](): true, reflect.TypeFor[netip.Addr](): true, reflect.TypeFor[netip.Prefix](): true}

// apart demands that two equal values have no memory in common that could be changed.
func apart(t *testing.T, path string, a, b reflect.Value) {
	t.Helper()
	switch a.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		if a.IsNil() {
			return
		}
		if a.Pointer() == b.Pointer() && (a.Kind() != reflect.Slice || a.Len() > 0) {
			t.Errorf("%s is shared", path)
		}
	default: // it points at nothing
	}
	switch a.Kind() {
	case reflect.Pointer:
		apart(t, "*"+path, a.Elem(), b.Elem())
	case reflect.Map:
		for _, k := range a.MapKeys() {
			apart(t, path+"["+k.String()+"]", a.MapIndex(k), b.MapIndex(k))
		}
	case reflect.Slice:
		for i := range a.Len() {
			apart(t, path+"[]", a.Index(i), b.Index(i))
		}
	case reflect.Struct:
		for i := range a.NumField() {
			if f := a.Type().Field(i); f.IsExported() {
				apart(t, path+"."+f.Name, a.Field(i), b.Field(i))
			} else if !sealed[a.Type()] {
				t.Errorf("%s: a %s has fields that are not exported; say here whether it is a value of its own", path, a.Type())
			}
		}
	case reflect.Interface, reflect.Func, reflect.Chan, reflect.Array, reflect.UnsafePointer:
		t.Errorf("%s: Clone knows nothing of a %s", path, a.Type())
	default: // a value of its own
	}
}

func TestClone_sharesNothing(t *testing.T) {
	for _, k := range api.Kinds {
		o, _ := example(t, k)
		c := api.Clone(o)
		if !reflect.DeepEqual(o, c) {
			t.Errorf("%s: the clone of\n%+v\nis\n%+v", k.Name, o, c)
		}
		apart(t, k.Name, reflect.ValueOf(o), reflect.ValueOf(c))
	}
}
