package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/cairn-cloud/cairn/api"
)

// detector finds objects of the copy in memory that somebody changed: they are
// shared by all readers. It keeps every object that it sees, so it is for
// tests. The idea is that of client-go's cache mutation detector.
type detector struct {
	mu   sync.Mutex
	seen map[api.Object][]byte
}

func newDetector() *detector { return &detector{seen: map[api.Object][]byte{}} }

// add remembers what the object is. A nil detector does nothing.
func (d *detector) add(o api.Object) {
	if d == nil {
		return
	}
	b, err := json.Marshal(o)
	if err != nil {
		return // it came out of JSON
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[o] = b
}

// check names the objects that are not any more what they were.
func (d *detector) check() (mutated []string) {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for o, was := range d.seen {
		if is, err := json.Marshal(o); err != nil || !bytes.Equal(is, was) {
			mutated = append(mutated, fmt.Sprintf("a shared object was changed in memory (api.Clone it first)\nwas: %s\nis:  %s", was, is))
		}
	}
	return mutated
}
