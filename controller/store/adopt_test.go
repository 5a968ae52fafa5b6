package store

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-cloud/cairn/api"
)

// everything is all of the copy in memory, with its revisions.
func everything(t *rapid.T, v *View) map[string]string {
	out := map[string]string{}
	v.t.objects.Scan(func(e *entry) bool {
		b, err := json.Marshal(e.object())
		if err != nil {
			t.Fatal(err)
		}
		out["object "+e.id] = fmt.Sprint(e.kind, e.mod, e.schema, string(b))
		return true
	})
	v.t.members.Scan(func(e *entry) bool { out["member "+e.id] = e.project; return true })
	v.t.owners.Scan(func(key string, h holder) bool { out["owner "+key] = fmt.Sprint(h); return true })
	v.t.refs.Scan(func(r refRow) bool { out[fmt.Sprint("ref ", r)] = "x"; return true })
	v.t.counts.Scan(func(key string, c count) bool { out["count "+key] = fmt.Sprint(c); return true })
	v.t.idem.Scan(func(key string, r *remembered) bool { out["idem "+key] = fmt.Sprint(*r); return true })
	return out
}

// What a process has in memory of its own transactions is what every other one
// reads out of etcd, and its watchers see the same changes in the same order.
func TestCommit_isSeenAsOthersReadIt(t *testing.T) {
	a := opened(t, func(o *Options) { o.DetectMutations = false })
	b := opened(t, func(o *Options) { o.DetectMutations = false; o.Beside = a })
	rapid.Check(t, func(t *rapid.T) {
		start(t, a)
		from := api.Cursor{Revision: a.mirror.view().rev, Index: wholeRevision}
		list := rapid.SliceOfN(steps(), 1, 12).Draw(t, "changes")
		var rs []*request
		for n, x := range list {
			rs = append(rs, &request{ctx: t.Context(), decide: func(v *View) (Change, error) { return change(v, x, n), nil }, done: make(chan result, 1)})
		}
		a.queue.back(rs)
		for _, r := range rs {
			<-r.done
		}
		ours := a.mirror.view()
		theirs, err := b.mirror.wait(t.Context(), ours.rev)
		if err != nil {
			t.Fatal(err)
		}
		if x, y := everything(t, ours), everything(t, theirs); !reflect.DeepEqual(x, y) {
			t.Fatalf("here it is\n%v\nand there\n%v", difference(x, y), difference(y, x))
		}
		last := mustCommitIn(t, a, creating(projectNamed("last")))
		if x, y := told(t, a, from, last), told(t, b, from, last); x != y {
			t.Fatalf("told here\n%s\nand there\n%s", x, y)
		}
	})
	if a.adopted.Load() == 0 || b.adopted.Load() != 0 {
		t.Errorf("%d transactions were adopted where they were made, %d elsewhere", a.adopted.Load(), b.adopted.Load())
	}
}

func mustCommitIn(t *rapid.T, s *Etcd, decide func(*View) (Change, error)) int64 {
	rev, err := s.Commit(t.Context(), decide)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// told is what watchers are told after the cursor, up to a revision that changes something.
func told(t *rapid.T, s *Etcd, from api.Cursor, last int64) string {
	for {
		events, _, more, err := s.history.since("", from, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(events); n > 0 && events[n-1].Cursor.Revision == last {
			var out strings.Builder
			for _, e := range events {
				b, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&out, "%v %s\n", e.Cursor, b)
			}
			return out.String()
		}
		select {
		case <-more:
		case <-t.Context().Done():
			t.Fatal("not told in time")
		}
	}
}
