package sim

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// process is a part of the cloud that can crash: a controller, an agent. What it
// has in memory is lost then; what it has sent goes on.
type process struct {
	w    *world
	name string
	main func(ctx context.Context, l *life) error

	mu     sync.Mutex
	now    *life // nil: it does not run
	starts int
	skew   time.Duration // of its wall clock
}

// life is a process from a start to its end.
type life struct {
	*process
	n     int // the n-th start
	ctx   context.Context
	end   context.CancelFunc
	over  atomic.Bool
	ended chan struct{}
}

func (w *world) newProcess(name string, main func(context.Context, *life) error) *process {
	p := &process{w: w, name: name, main: main}
	w.processes = append(w.processes, p)
	return p
}

// restartAfter is when a process that ended by itself is started again, as
// systemd would do it.
const restartAfter = time.Second

// start starts the process, unless it runs.
func (p *process) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil {
		return
	}
	p.starts++
	l := &life{process: p, n: p.starts, ended: make(chan struct{})}
	l.ctx, l.end = context.WithCancel(context.Background())
	p.now = l
	p.w.trace.add("%s starts, the %d. time", p.name, l.n)
	p.w.lives = append(p.w.lives, l)
	go func() {
		defer close(l.ended)
		err := p.main(l.ctx, l)
		if l.over.Load() || p.w.closing.Load() {
			return
		}
		p.w.trace.add("%s ended by itself: %v", p.name, err)
		p.stop()
		p.w.after(restartAfter, p.name+" is started again", p.start)
	}()
}

// crash ends the process where it stands.
func (p *process) crash() {
	p.w.trace.add("%s crashes", p.name)
	p.stop()
}

func (p *process) stop() {
	p.mu.Lock()
	l := p.now
	p.now = nil
	p.mu.Unlock()
	if l == nil {
		return
	}
	l.over.Store(true)
	l.end()
	p.w.release(l)
}

func (p *process) running() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// clock is the process's wall clock, which faults make jump.
func (p *process) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Add(p.skew)
}

func (l *life) dead() bool { return l != nil && l.over.Load() }

// purpose names the life in draws.
func (l *life) purpose() string { return fmt.Sprintf("%s/%d", l.name, l.n) }

// log writes what the process says to the trace, where that is kept.
func (l *life) log() *slog.Logger {
	if !l.w.trace.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(logWriter{l}, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

type logWriter struct{ l *life }

func (x logWriter) Write(b []byte) (int, error) {
	if !x.l.dead() {
		x.l.w.trace.note("%s says %s", x.l.name, b[:max(0, len(b)-1)])
	}
	return len(b), nil
}
