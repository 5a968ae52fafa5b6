package controller

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
)

// entropy hands out seeds from the randomness that the process was given.
type entropy struct {
	mu sync.Mutex
	r  io.Reader
}

// dice are the random choices of one request: a stream that begins anew, with
// the same seed, each time the request is decided again. ChaCha8 seeded with 256
// random bits is fit for secrets.
type dice struct {
	*rand.Rand
	source *rand.ChaCha8
}

func (e *entropy) seed() (s [32]byte, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err = io.ReadFull(e.r, s[:]); err != nil {
		return s, fmt.Errorf("draw randomness: %w", err)
	}
	return s, nil
}

func newDice(seed [32]byte) dice {
	c := rand.NewChaCha8(seed)
	return dice{rand.New(c), c}
}

const idLength = 20

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// word returns 20 characters of lower-case base32: 100 random bits.
func (d dice) word() string {
	var b [13]byte
	_, _ = d.source.Read(b[:]) // a ChaCha8 never fails
	return idEncoding.EncodeToString(b[:])[:idLength]
}

// secret returns 43 characters of base64url: 256 random bits.
func (d dice) secret() string {
	var b [32]byte
	_, _ = d.source.Read(b[:]) // a ChaCha8 never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}
