package storetest

import (
	"context"
	"crypto/rand"
	"os"
	"time"

	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/controller/store/memetcd"
)

// T is what is needed of *testing.T.
type T interface {
	Helper()
	TempDir() string
	Context() context.Context
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// InMemory is the environment variable that makes New open stores on an etcd in
// memory when it is set, for the tests of both.
const InMemory = "CAIRN_STORETEST_IN_MEMORY"

// New opens an embedded store in the test's temporary directory and closes it
// at the end. A test that changed an object of the store fails.
func New(t T, changes ...func(*store.Options)) *store.Etcd {
	t.Helper()
	if os.Getenv(InMemory) != "" {
		client := memetcd.New(time.Now).Client(context.Background(), nil)
		t.Cleanup(func() { _ = client.Close() }) // it says only that it was closed
		return open(t, store.Options{Client: client}, changes)
	}
	return In(t, t.TempDir(), changes...)
}

// In opens an embedded store in the directory, as a restarted process would.
// The one before it must be closed.
func In(t T, dir string, changes ...func(*store.Options)) *store.Etcd {
	t.Helper()
	return open(t, store.Options{Embedded: &store.Embedded{Dir: dir, NoSync: true}}, changes)
}

// Beside opens a second store on the etcd of the first, as another controller would.
func Beside(t T, s *store.Etcd, changes ...func(*store.Options)) *store.Etcd {
	t.Helper()
	return open(t, store.Options{Beside: s}, changes)
}

func open(t T, o store.Options, changes []func(*store.Options)) *store.Etcd {
	t.Helper()
	o.Now, o.Rand, o.DetectMutations = time.Now, rand.Reader, true
	for _, change := range changes {
		change(&o)
	}
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("open a store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}
