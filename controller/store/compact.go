package store

import (
	"hash/maphash"
	"reflect"
	"sync/atomic"

	"github.com/cairn-cloud/cairn/api"
)

// compact makes an object that was just decoded smaller, and equal to what it
// was: lists lose the room that they were given to grow, and short texts that many
// objects have (the ID of a project, the name of a state) become one.
func compact(o api.Object) { compactValue(reflect.ValueOf(o).Elem()) }

func compactValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if n := v.Len(); n > 0 && n <= longestShared {
			v.SetString(shared(v.String()))
		}
	case reflect.Slice:
		if v.Len() < v.Cap() {
			c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(c, v)
			v.Set(c)
		}
		for i := range v.Len() {
			compactValue(v.Index(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			compactValue(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				compactValue(f)
			}
		}
	default: // nothing to be made smaller
	}
}

const (
	// longestShared is the longest text that is looked for among the known ones.
	longestShared = 32
	sharedTexts   = 1 << 14
)

// texts are the texts that came last, each at the place of its hash: what comes
// often is found, and what comes once is soon forgotten, so that it never grows.
var (
	texts    [sharedTexts]atomic.Pointer[string]
	textSeed = maphash.MakeSeed()
)

func shared(s string) string {
	at := &texts[maphash.String(textSeed, s)%sharedTexts]
	if known := at.Load(); known != nil && *known == s {
		return *known
	}
	at.Store(&s)
	return s
}
