package linux

import (
	"context"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/cairn-cloud/cairn/network"
)

// Events implements agent.Network. Every event of the kernel about what is ours
// leads to a look at all of it, and is told only if that differs from what was
// applied last: what Apply does itself does not. While one looks, more events
// come together into one. An error says that events may have been missed.
func (n *Network) Events(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		w := &watch{n: n, wake: make(chan struct{}, 1), lost: make(chan error, 1), routers: map[string]*ear{}}
		defer w.close()
		if err := w.open(); err != nil {
			yield("", fmt.Errorf("listen to the kernel: %w", err))
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case err := <-w.lost:
				if !yield("", err) {
					return
				}
			case <-w.wake:
				what, err := w.look()
				if (what != "" || err != nil) && !yield(what, err) {
					return
				}
			}
		}
	}
}

// watch listens to the host's namespace and to its routers'.
type watch struct {
	n       *Network
	wake    chan struct{} // something may have changed
	lost    chan error    // something may have been missed
	host    *ear
	names   *os.File // of namespaces: an inotify descriptor
	routers map[string]*ear
	wg      sync.WaitGroup
}

func (w *watch) open() (err error) {
	if err := os.MkdirAll(w.n.o.NamespaceDir, 0o755); err != nil {
		return err
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.n.o.NamespaceDir, err)
	}
	w.names = os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, w.n.o.NamespaceDir, unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE); err != nil {
		return fmt.Errorf("watch %s: %w", w.n.o.NamespaceDir, err)
	}
	w.wg.Go(func() {
		b := make([]byte, 1<<14)
		for _, err := w.names.Read(b); err == nil; _, err = w.names.Read(b) {
			w.touch()
		}
	})
	if w.host, err = w.listen("", w.n.host.ns); err != nil {
		return err
	}
	w.touch() // what came before is seen now
	return nil
}

func (w *watch) touch() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) miss(err error) {
	select {
	case w.lost <- err:
	default:
	}
}

func (w *watch) close() {
	if w.names != nil {
		_ = w.names.Close()
	}
	if w.host != nil {
		w.host.close()
	}
	for _, e := range w.routers {
		e.close()
	}
	w.wg.Wait()
}

// look tells in words what differs from what is wanted.
func (w *watch) look() (string, error) {
	if err := w.follow(); err != nil { // first, so that nothing is missed in between
		return "", err
	}
	rest, err := w.n.rest()
	const few = 5
	what := network.Summary(rest)
	if len(what) > few {
		what = append(what[:few], fmt.Sprintf("… %d operations in all", len(rest)))
	}
	return strings.Join(what, "; "), err
}

// rest is what Apply of the last wanted would do now.
func (n *Network) rest() (ops []network.Op, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.want == nil {
		return nil, nil // nothing was applied, or not all of it: it will be applied again
	}
	k := n.open()
	defer func() {
		if e := k.Close(); err == nil {
			err = e
		}
	}()
	have, err := k.observe()
	if err != nil {
		return nil, err
	}
	return network.Plan(*n.want, have), nil
}

// follow listens to the routers that there are, and to no others: to listen to
// one keeps it from ending.
func (w *watch) follow() error {
	names, err := w.n.named()
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, name := range names {
		ns, err := netns.GetFromPath(w.n.path(name))
		if err != nil {
			continue // it went just now, and that is an event
		}
		if e, ok := w.routers[name]; ok && e.ns.Equal(ns) {
			there[name] = true
			_ = ns.Close()
			continue
		}
		e, err := w.listen(name, ns)
		if err != nil {
			_ = ns.Close()
			return fmt.Errorf("listen to the router %s: %w", name, err)
		}
		e.own = true
		if old, ok := w.routers[name]; ok {
			old.close()
		}
		w.routers[name], there[name] = e, true
	}
	for name, e := range w.routers {
		if !there[name] {
			e.close()
			delete(w.routers, name)
		}
	}
	return nil
}
