package sim

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"
)

// dice are random choices that follow from the seed and from what they are for,
// so that who asks first makes no difference to what others get.
func dice(seed uint64, purpose string) *rand.Rand { return rand.New(source(seed, purpose)) }

// entropy is a source of random bytes for a process, as crypto/rand is in production.
func entropy(seed uint64, purpose string) *rand.ChaCha8 { return source(seed, purpose) }

func source(seed uint64, purpose string) *rand.ChaCha8 {
	var key [32]byte
	for i := range 4 {
		binary.LittleEndian.PutUint64(key[8*i:], mix(seed, purpose, i))
	}
	return rand.NewChaCha8(key)
}

// mix mixes the seed with the n-th occasion of something.
func mix(seed uint64, what string, n int) uint64 {
	h := fnv.New64a()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], seed)
	_, _ = h.Write(b[:]) // a hash never fails
	_, _ = h.Write([]byte(what))
	_, _ = h.Write([]byte("#" + strconv.Itoa(n)))
	x := h.Sum64() // FNV's high bits are poor: finish as splitmix64 does
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// chance tells whether something of that probability happens on that occasion.
func chance(seed uint64, what string, n int, p float64) bool {
	return float64(mix(seed, what, n)>>11)/(1<<53) < p
}

// latency is how long a step takes: a fraction of a millisecond most often, and
// now and then so long that what was sent later arrives before it.
func latency(seed uint64, what string, n int) time.Duration {
	h := mix(seed, what, n)
	d := 20*time.Microsecond + time.Duration(h%uint64(time.Millisecond))
	if h>>32%40 == 0 {
		d += time.Duration(h >> 40 % uint64(200*time.Millisecond))
	}
	return d
}
