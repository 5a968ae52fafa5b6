package store

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cairn-cloud/cairn/api"
)

func TestOpen_refusesAClusterNewerThanTheBinary(t *testing.T) {
	a := opened(t, func(o *Options) { o.newest = 7 })
	o := Options{Now: a.opts.Now, Rand: a.opts.Rand, Beside: a}
	_, err := Open(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "schema 7") || !strings.Contains(err.Error(), "run a newer release") {
		t.Errorf("got %v", err)
	}
}

func TestSchema_isRaisedWhenTheLastOldControllerHasGone(t *testing.T) {
	old := opened(t, func(*Options) {})
	young := opened(t, func(o *Options) { o.Beside, o.newest = old, 2 })
	if got := young.mirror.view().t.schema.version; got != 1 {
		t.Fatalf("with an old controller there, schema %d is written", got)
	}
	lead(t, young, t.Context())
	older := opened(t, func(o *Options) { o.Beside = old })
	if err := older.Close(); err != nil {
		t.Fatal(err)
	}
	// The first one stays open, for its etcd; as a controller it goes.
	if _, err := old.client.Delete(t.Context(), livePrefix+old.id); err != nil {
		t.Fatal(err)
	}
	sees(t, young, "schema 2 in force", func(v *View) bool { return v.t.schema.version == 2 })
	mustCommit(t, old, creating(projectNamed("a"))) // it still can: the kind's own schema is 1
}

func TestSchema_theLeaderWritesStaleRecordsAgain(t *testing.T) {
	s := opened(t, func(*Options) {})
	record := `{"schema":0,"object":{"id":"prj_old","name":"old","generation":3,"spec":{"description":"from long ago"}}}`
	key := specKey(api.KindProject, "", "prj_old")
	if _, err := s.client.Put(t.Context(), key, record); err != nil {
		t.Fatal(err)
	}
	sees(t, s, "the stale record", func(v *View) bool { return v.Get(api.KindProject, "prj_old") != nil })
	lead(t, s, t.Context())
	sees(t, s, "the record in the schema in force", func(v *View) bool {
		return !v.t.get(kindNoOf(api.KindProject), "prj_old").stale(1)
	})
	p := s.mirror.view().Get(api.KindProject, "prj_old").(*api.Project)
	if p.Spec.Description != "from long ago" || p.Generation != 3 {
		t.Errorf("it has become %+v", p)
	}
}

func TestDecode_upgradesStepByStepAndRefusesTheFuture(t *testing.T) {
	k, _ := api.KindByName(api.KindProject)
	k.Schema = 3
	step := func(to string) func(json.RawMessage) (json.RawMessage, error) {
		return func(r json.RawMessage) (json.RawMessage, error) {
			return json.RawMessage(strings.ReplaceAll(string(r), `"description":"`, `"description":"`+to)), nil
		}
	}
	k.Upgrade = []func(json.RawMessage) (json.RawMessage, error){step("2"), step("3")}
	for _, c := range []struct{ record, want string }{
		{`{"schema":1,"object":{"spec":{"description":""}}}`, "32"},
		{`{"schema":2,"object":{"spec":{"description":""}}}`, "3"},
		{`{"schema":3,"object":{"spec":{"description":""}}}`, ""},
	} {
		o, _, err := decode(k, []byte(c.record))
		if err != nil || o.(*api.Project).Spec.Description != c.want {
			t.Errorf("%s: got %+v, %v; want %q", c.record, o, err, c.want)
		}
	}
	if _, _, err := decode(k, []byte(`{"schema":4,"object":{}}`)); err == nil || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("a record from the future: %v", err)
	}
}

func TestEncode_keepsNoSecretAndNoRevision(t *testing.T) {
	tok := &api.Token{Secret: "cairn_hush"}
	tok.ID, tok.Revision = "tok_a", 99
	b, err := encode(partSpec, 1, tok)
	if err != nil || strings.Contains(string(b), "hush") || strings.Contains(string(b), "99") {
		t.Errorf("the record is %s, %v", b, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"schema":1,"object":{"id":"ins_a","spec":{"nics":[{"address":"10.0.0.1"}]}}}`))
	f.Add([]byte(`{"schema":-5,"object":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, _ := api.KindByName(api.KindInstance)
		o, _, err := decode(k, b)
		if (o == nil) == (err == nil) {
			t.Errorf("got %v and %v", o, err)
		}
	})
}
