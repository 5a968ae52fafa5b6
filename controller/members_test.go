package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/cairn-cloud/cairn/api"
	"github.com/cairn-cloud/cairn/controller/pki"
	"github.com/cairn-cloud/cairn/controller/store"
)

// trio is up to three controllers' stores, members of one etcd, as processes on
// three machines would be.
type trio struct {
	*testing.T
	ca *pki.CA
}

// member opens the store of one, at its address if it had one before.
func (t trio) member(name, dir, address string, join func(url string) []string) (*store.Etcd, string) {
	t.Helper()
	own, err := t.ca.Peer(dir, []string{"127.0.0.1"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &store.Peer{URL: "https://" + l.Addr().String(), Listener: l, TLS: own.TLS, CertFile: own.CertFile, KeyFile: own.KeyFile, CAFile: own.CAFile}
	if join != nil {
		p.Join = join(p.URL)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := store.Open(ctx, store.Options{
		Now: time.Now, Rand: rand.Reader, DetectMutations: true, Name: name, API: "https://" + name + ".example:7443",
		Embedded: &store.Embedded{Dir: dir, NoSync: true, Peer: p},
	})
	if err != nil {
		t.Fatalf("open the store of %s: %v", name, err)
	}
	return s, l.Addr().String()
}

func newTrio(t *testing.T) trio {
	x := trio{T: t}
	var err error
	if x.ca, err = pki.Open(t.TempDir(), time.Now(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	return x
}

// joining adds a member through one that is there.
func (t trio) joining(through *store.Etcd) func(string) []string {
	return func(url string) []string {
		m, err := through.AddMember(t.Context(), url)
		if err == nil { // the answer was lost, and it asks again
			m, err = through.AddMember(t.Context(), url)
		}
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func (t trio) close(all ...*store.Etcd) {
	for _, s := range all {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func (t trio) writeProject(s *store.Etcd, name string) {
	t.Helper()
	p := &api.Project{}
	p.ID, p.Name = "prj_"+name, name
	if _, err := s.Commit(t.Context(), func(*store.View) (store.Change, error) { return store.Change{Create: []api.Object{p}}, nil }); err != nil {
		t.Fatalf("write %s: %v", name, err)
	}
}

func (t trio) reads(s *store.Etcd, name string) {
	t.Helper()
	v, err := s.View(t.Context(), api.Latest)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	if v.Get(api.KindProject, "prj_"+name) == nil {
		t.Errorf("%s was acknowledged by another controller before, and is not read", name)
	}
}

// The life of three members: what one acknowledged all read, any one may be away
// and comes back, and one that is lost for good is replaced.
func TestMembers_joinAreAwayComeBackAndAreReplaced(t *testing.T) {
	x := newTrio(t)
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()}
	a, _ := x.member("a", dirs[0], "", nil)
	x.writeProject(a, "one")
	b, atB := x.member("b", dirs[1], "", x.joining(a))
	c, _ := x.member("c", dirs[2], "", x.joining(b))
	all, err := c.Controllers(t.Context())
	if err != nil || len(all) != 3 {
		t.Fatalf("the controllers are %+v, %v", all, err)
	}
	for i, k := range all {
		if k.Name != string(rune('a'+i)) || k.API != "https://"+k.Name+".example:7443" || !k.Lives || k.Member == nil || k.Member.Learner {
			t.Errorf("controller %d is %+v", i, k)
		}
	}
	x.reads(c, "one")
	for i, from := range []*store.Etcd{a, b, c} {
		name := "by" + all[i].Name
		x.writeProject(from, name)
		for _, to := range []*store.Etcd{a, b, c} {
			x.reads(to, name)
		}
	}
	x.close(b)
	x.writeProject(a, "without-b")
	b, _ = x.member("b", dirs[1], atB, nil) // it finds the others by itself
	x.reads(b, "without-b")

	x.close(c) // and its disk is lost
	if err := b.RemoveMember(t.Context(), all[2].Member.ID); err != nil {
		t.Fatal(err)
	}
	d, _ := x.member("d", dirs[3], "", x.joining(b))
	x.reads(d, "without-b")
	if m, err := d.Members(t.Context()); err != nil || len(m) != 3 || m[2].Name != "d" {
		t.Errorf("the members are %+v, %v", m, err)
	}
	x.close(d, b)

	// Alone of three, it neither acknowledges nor answers from memory.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var p *api.Problem
	if _, err := a.View(ctx, api.Latest); !errors.As(err, &p) || p.Status != 503 {
		t.Errorf("a controller without the others reads: %v", err)
	}
	x.close(a)
}

// A member that was removed while it runs says so: its process must end.
func TestMembers_oneThatIsRemovedIsTold(t *testing.T) {
	x := newTrio(t)
	a, _ := x.member("a", t.TempDir(), "", nil)
	b, _ := x.member("b", t.TempDir(), "", x.joining(a))
	m, err := a.Members(t.Context())
	if err != nil || len(m) != 2 {
		t.Fatalf("%+v, %v", m, err)
	}
	if err := a.RemoveMember(t.Context(), m[1].ID); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.Removed():
	case <-time.After(time.Minute):
		t.Error("it does not know that it was removed")
	}
	if err := b.Close(); err != nil {
		t.Log(err) // it cannot let go of anything any more
	}
	x.writeProject(a, "alone-again")
	x.reads(a, "alone-again")
	x.close(a)
}
