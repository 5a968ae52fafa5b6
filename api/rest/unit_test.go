package rest

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// TestMergePatch holds the examples of RFC 7396, appendix A.
func TestMergePatch_asTheRFCSays(t *testing.T) {
	for _, x := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		var v [3]any
		for i, s := range x {
			var err error
			if v[i], err = parseJSON([]byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		if got := mergePatch(v[0], v[1]); !reflect.DeepEqual(got, v[2]) {
			b, _ := json.Marshal(got)
			t.Errorf("%s with %s is %s, want %s", x[0], x[1], b, x[2])
		}
	}
}

// onlyRevision is a view that has nothing but its revision.
type onlyRevision struct {
	api.View
	revision int64
}

func (v onlyRevision) Revision() int64 { return v.revision }

func TestViewCache_keepsTheRecentOnes(t *testing.T) {
	now := time.Unix(0, 0)
	c := newViewCache(func() time.Time { return now })
	for r := range int64(viewsKept) {
		c.keep(onlyRevision{revision: r + 1})
		now = now.Add(time.Millisecond)
	}
	if c.get(1) == nil { // and now it is the most recent one
		t.Fatal("the first was lost while there was room")
	}
	now = now.Add(time.Second)
	c.keep(onlyRevision{revision: 1000})
	if c.get(1) == nil || c.get(1000) == nil || c.get(2) != nil || len(c.views) != viewsKept {
		t.Errorf("%d are kept; the one unused for longest should have gone", len(c.views))
	}
	now = now.Add(viewKeptFor + time.Second)
	if c.get(1000) != nil || len(c.views) != 0 {
		t.Errorf("%d are kept beyond their time", len(c.views))
	}
}
