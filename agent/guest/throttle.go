package guest

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What one guest may ask for, in messages a second, and at once. It is far more
// than a boot needs, and keeps a guest from living on the agent's time.
const (
	dhcpRate, dhcpBurst = 10, 50
	httpRate, httpBurst = 100, 500
	dnsRate, dnsBurst   = 500, 1000
)

// throttle counts what each guest asks for. It knows only guests that are in
// the view, so it does not grow by what they send.
type throttle[K comparable] struct {
	rate  rate.Limit
	burst int
	now   func() time.Time

	mu   sync.Mutex
	each map[K]*rate.Limiter
}

func newThrottle[K comparable](r rate.Limit, burst int, now func() time.Time) *throttle[K] {
	return &throttle[K]{rate: r, burst: burst, now: now, each: map[K]*rate.Limiter{}}
}

func (t *throttle[K]) allow(k K) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.each[k]
	if l == nil {
		l = rate.NewLimiter(t.rate, t.burst)
		t.each[k] = l
	}
	return l.AllowN(t.now(), 1)
}

// keep forgets who is not known any more.
func (t *throttle[K]) keep(known func(K) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.each {
		if !known(k) {
			delete(t.each, k)
		}
	}
}
