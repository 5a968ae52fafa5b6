package rest

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/cairn-cloud/cairn/api"
)

// heartbeat is how often a stream says that it lives.
const heartbeat = 15 * time.Second

// stream writes server-sent events. Nothing is sent, and so no status is
// decided, before the first event: an error until then is an ordinary problem.
type stream struct {
	*call
	rc      *http.ResponseController
	started bool
}

func (c *call) stream() *stream {
	return &stream{call: c, rc: c.unhurried()}
}

func (s *stream) start() {
	if s.started {
		return
	}
	s.started = true
	h := s.header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // proxies that buffer would hold events back
	s.echo.Response().WriteHeader(http.StatusOK)
}

// send writes one event. Data is JSON, so it holds no line break.
func (s *stream) send(event, id string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.start()
	_ = s.rc.SetWriteDeadline(time.Now().Add(stallTimeout))
	head := "event: " + event + "\ndata: "
	if id != "" {
		head = "id: " + id + "\n" + head
	}
	for _, part := range [][]byte{[]byte(head), b, []byte("\n\n")} {
		for len(part) > 0 {
			n := min(len(part), pieceBytes)
			if _, err := s.echo.Response().Write(part[:n]); err != nil {
				return err
			}
			part = part[n:]
		}
	}
	return s.flush()
}

// pieceBytes is how much of an event is written at once. HTTP/2 and TLS keep,
// for each connection, buffers as large as the largest piece they have seen, and
// there are a thousand idle connections for one that is busy.
const pieceBytes = 4 << 10

func (s *stream) flush() error {
	if err := s.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// end reports the error by which a stream ends: as a status before the first
// event, as an event of its own after it.
func (s *stream) end(err error) error {
	if err == nil || s.context().Err() != nil {
		return nil
	}
	if !s.started {
		return err
	}
	if errors.Is(err, errClosing) {
		return nil
	}
	return s.send("error", "", s.problem(s.context(), err))
}

// errClosing ends streams when the server stops; the client resumes.
var errClosing = errors.New("the server is stopping")

type item[T any] struct {
	value T
	err   error
}

// pump runs a sequence in a goroutine of its own and hands its items to each,
// and a tick at every heartbeat, until the sequence, the client or the server
// ends. It returns when the goroutine has ended.
func pump[T any](s *stream, seq func(context.Context) iter.Seq2[T, error], each func(T) error, tick func() error) error {
	ctx, cancel := context.WithCancel(s.context())
	items := make(chan item[T])
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		defer close(items)
		for v, err := range seq(ctx) {
			select {
			case items <- item[T]{v, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	ticks, stop := s.newTicker(heartbeat)
	defer stop()
	for {
		var err error
		select {
		case it, ok := <-items:
			switch {
			case !ok:
				return errClosing // the backend stops: nothing more will come
			case it.err != nil:
				return it.err
			}
			err = each(it.value)
		case <-ticks:
			err = tick()
		case <-s.closing.Done():
			return errClosing
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// stillAllowed authenticates again, so that a stream does not outlive its token.
func (s *stream) stillAllowed() error {
	v, err := s.backend.View(s.context(), api.Latest)
	if err != nil {
		return err
	}
	s.view = v
	return s.authenticate()
}
