package api

import (
	"reflect"
	"sync"
)

// Clone returns a deep copy. Cached objects are shared and must not be changed;
// whoever wants to change one clones it first.
func Clone[T Object](o T) T {
	v := reflect.ValueOf(o)
	c := reflect.New(v.Type().Elem())
	c.Elem().Set(v.Elem())
	unshare(c.Elem())
	return c.Interface().(T)
}

// unshare replaces what the value, which is a copy, shares with its original.
func unshare(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		c := reflect.New(v.Type().Elem())
		c.Elem().Set(v.Elem())
		unshare(c.Elem())
		v.Set(c)
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(c, v)
		if shares(v.Type().Elem()) {
			for i := range c.Len() {
				unshare(c.Index(i))
			}
		}
		v.Set(c)
	case reflect.Map:
		if v.IsNil() {
			return
		}
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for each := v.MapRange(); each.Next(); {
			x := reflect.New(v.Type().Elem()).Elem()
			x.Set(each.Value())
			unshare(x)
			c.SetMapIndex(each.Key(), x)
		}
		v.Set(c)
	case reflect.Struct:
		for _, i := range sharing(v.Type()) {
			unshare(v.Field(i))
		}
	default: // a value of its own
	}
}

// sharingFields remembers for each struct which of its fields share.
var sharingFields sync.Map // reflect.Type → []int

// sharing are the fields of a struct that a plain copy shares with its
// original. A struct with fields that are not exported, such as a time or an address,
// is a value of its own: nobody can change what is inside.
func sharing(t reflect.Type) []int {
	if known, ok := sharingFields.Load(t); ok {
		return known.([]int)
	}
	var fields []int
	for i := range t.NumField() {
		if f := t.Field(i); !f.IsExported() {
			fields = nil
			break
		} else if shares(f.Type) {
			fields = append(fields, i)
		}
	}
	sharingFields.Store(t, fields)
	return fields
}

func shares(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return true
	case reflect.Struct:
		return len(sharing(t)) > 0
	default:
		return false
	}
}
