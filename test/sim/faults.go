package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	Crash      Kind = "crash"      // a part ends between any two of its steps, and starts again
	Power      Kind = "power"      // a host loses its power, and its guests with it
	Partition  Kind = "partition"  // nothing comes through between two parts
	Pause      Kind = "pause"      // a part stands still and knows nothing of it
	Leader     Kind = "leader"     // the part that leads is cut off from etcd for longer than its lease lasts
	Expire     Kind = "expire"     // a controller's lease ends although it is alive
	Slow       Kind = "slow"       // all to and from a part is slow, and some of it overtakes the rest
	WatchCut   Kind = "watch"      // watches break off, and etcd compacts what they missed
	Unknown    Kind = "unknown"    // answers are lost after what was asked for was done
	Clock      Kind = "clock"      // a controller's wall clock jumps; agents measure time without one
	Full       Kind = "full"       // the disk of etcd or of a host is full
	Hypervisor Kind = "hypervisor" // a host's hypervisor fails, or hangs
	Guest      Kind = "guest"      // a guest crashes, switches itself off, or is destroyed by another hand
	Hand       Kind = "hand"       // another hand changes what is on a host, or leaves there what nobody owns
	Add        Kind = "add"        // a host joins
	Drain      Kind = "drain"      // a host is drained, and used again later
	Lost       Kind = "lost"       // a host is cut off for long, or without power and said to be off
)

// Kinds are all of them.
var Kinds = []Kind{Crash, Power, Partition, Pause, Leader, Expire, Slow, WatchCut, Unknown, Clock, Full, Hypervisor, Guest, Hand, Add, Drain, Lost}

// Fault is one thing that goes wrong.
type Fault struct {
	Kind Kind
	At   time.Duration // since troubles began
	For  time.Duration
	A, B string // whom it is about
	N    int64  // how much, where the kind has a how much
}

func (f Fault) String() string {
	s := fmt.Sprintf("%s %s", f.Kind, f.A)
	if f.B != "" {
		s += " and " + f.B
	}
	if f.N != 0 {
		s += fmt.Sprintf(" by %d", f.N)
	}
	return fmt.Sprintf("%s at %s for %s", s, f.At, f.For)
}

// trouble is how long faults begin; longestFault is how long one lasts at most,
// but for lost hosts: it takes them longer to be given up.
const (
	trouble      = 90 * time.Second
	longestFault = 40 * time.Second
	longestLoss  = 5 * time.Minute
)

// over is when the last fault of a schedule is.
func over(faults []Fault) time.Duration {
	end := trouble + longestFault
	for _, f := range faults {
		end = max(end, f.At+f.For)
	}
	return end
}

// draw draws a schedule of faults of the kinds.
func draw(r *rand.Rand, kinds []Kind, controllers, hosts int) []Fault {
	if len(kinds) == 0 {
		return nil
	}
	ctl := func() string { return fmt.Sprintf("ctl%d", r.IntN(controllers)) }
	host := func() string { return fmt.Sprintf("host%d", r.IntN(hosts)) }
	either := func() string {
		if r.IntN(2) == 0 {
			return ctl()
		}
		return host()
	}
	var out []Fault
	for range 2 + r.IntN(9) {
		f := Fault{
			Kind: kinds[r.IntN(len(kinds))],
			At:   time.Duration(r.Int64N(int64(trouble))),
			For:  time.Second/2 + time.Duration(r.ExpFloat64()*float64(8*time.Second)),
		}
		f.For = min(f.For, longestFault)
		switch f.Kind {
		case Crash, Pause, Slow:
			f.A = either()
		case Power, Hypervisor, Guest:
			f.A, f.N = host(), r.Int64N(3)
		case Partition:
			f.A, f.B = ctl(), "etcd"
			switch r.IntN(4) {
			case 0, 1:
				f.B = host()
			case 2:
				f.A, f.B = host(), host()
			}
		case Leader:
			f.For = 12*time.Second + time.Duration(r.Int64N(int64(20*time.Second)))
		case Expire, WatchCut, Unknown:
			f.A, f.N = ctl(), r.Int64N(2)
		case Clock:
			f.A, f.N = ctl(), r.Int64N(7200)-3600
		case Full:
			if f.A = "etcd"; r.IntN(2) == 0 {
				f.A = host()
			}
		case Hand:
			f.A, f.N = host(), r.Int64N(hands)
		case Drain:
			f.A, f.For = host(), f.For+10*time.Second
		case Lost:
			f.A, f.N = host(), r.Int64N(2)
			f.For = longestLoss/2 + time.Duration(r.Int64N(int64(longestLoss/2)))
		case Add:
			f.A = fmt.Sprintf("host%d", hosts+len(out))
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return out
}

// ParseKinds reads a list such as crash,partition; "" is all.
func ParseKinds(s string) ([]Kind, error) {
	if s == "" {
		return Kinds, nil
	}
	var out []Kind
	for _, name := range strings.Split(s, ",") {
		k := Kind(strings.TrimSpace(name))
		if k == "none" {
			return nil, nil
		}
		if !slices.Contains(Kinds, k) {
			return nil, fmt.Errorf("there is no fault %q; there are none, %v", name, Kinds)
		}
		out = append(out, k)
	}
	return out, nil
}

// faults are those of a run, and which of them are in force.
type faults struct {
	w       *world
	since   time.Time // zero: troubles have not begun
	planned []Fault
	active  []Fault
	armed   map[string]time.Time // processes that crash at their next step → until when they are down
}

// begin starts and ends what is due.
func (x *faults) begin(now time.Time) {
	if x.since.IsZero() {
		return
	}
	for _, f := range x.active {
		if now.Before(x.since.Add(f.At + f.For)) {
			continue
		}
		x.w.mu.Lock()
		x.active = slices.DeleteFunc(slices.Clone(x.active), func(g Fault) bool { return g == f })
		x.w.mu.Unlock()
		x.w.trace.add("over: %s", f)
		x.w.heal(f)
	}
	for len(x.planned) > 0 && !now.Before(x.since.Add(x.planned[0].At)) {
		f := x.planned[0]
		x.planned = x.planned[1:]
		f = x.w.resolve(f)
		x.w.trace.add("fault: %s", f)
		x.w.mu.Lock()
		x.active = append(x.active, f)
		x.w.mu.Unlock()
		x.w.strike(f)
	}
}

// nextChange is when a fault begins or ends next; far away where none does.
func (x *faults) nextChange(now time.Time) time.Time {
	at := now.Add(time.Hour)
	if x.since.IsZero() {
		return at
	}
	if len(x.planned) > 0 {
		if b := x.since.Add(x.planned[0].At); b.Before(at) {
			at = b
		}
	}
	for _, f := range x.active {
		if e := x.since.Add(f.At + f.For); e.Before(at) {
			at = e
		}
	}
	return at
}

func (x *faults) has(k Kind, a string) bool {
	return slices.ContainsFunc(x.active, func(f Fault) bool { return f.Kind == k && f.A == a })
}

// slow: the world's lock is held.
func (x *faults) slow(part string) bool { return part != "" && x.has(Slow, part) }

// holds tells whether the step cannot happen now. The world's lock is held.
func (x *faults) holds(s *step) bool {
	for _, f := range x.active {
		switch f.Kind {
		case Pause:
			if s.a == f.A || s.b == f.A {
				return true
			}
		case Partition, Leader:
			if s.a == f.A && s.b == f.B || s.a == f.B && s.b == f.A {
				return true
			}
		case Lost:
			if f.N == cutOff && (s.a == f.A && s.b != "" || s.b == f.A) {
				return true
			}
		default: // they hold up nothing
		}
	}
	return false
}

// How a host is lost.
const (
	cutOff   = 0
	powerCut = 1
)

// crashes tells whether the process of the step dies at it.
func (x *faults) crashes(s *step) bool {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if _, ok := x.armed[s.by.name]; !ok {
		return false
	}
	delete(x.armed, s.by.name)
	return true
}

// drawn tells whether something with a chance happens on this occasion, while
// a fault of that kind is on the part.
func (x *faults) drawn(k Kind, part, what string, occasion int, p float64) (Fault, bool) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	for _, f := range x.active {
		if f.Kind == k && f.A == part {
			return f, chance(x.w.seed, string(k)+part+what, occasion, p)
		}
	}
	return Fault{}, false
}

func (x *faults) lostAnswer(controller, to string, occasion int) bool {
	_, lost := x.drawn(Unknown, controller, to, occasion, 0.2)
	return lost
}
