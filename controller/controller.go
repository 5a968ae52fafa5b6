package controller

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/cairn-cloud/cairn/controller/images"
	"github.com/cairn-cloud/cairn/controller/pki"
	"github.com/cairn-cloud/cairn/controller/store"
	"github.com/cairn-cloud/cairn/scheduler"
)

// Options of New. Store, CA, Now, Rand and DataDir are required.
type Options struct {
	Store   store.Store
	CA      *pki.CA
	Now     func() time.Time
	Rand    io.Reader // of secrets too: crypto/rand
	DataDir string    // of images
	// Timer makes timers by the same clock as Now. Default: time.NewTimer.
	Timer Timer
	Log   *slog.Logger
	// Place decides where instances run. Default: scheduler.Place.
	Place scheduler.Placer
	// Fencer switches lost hosts off. Default: nobody does.
	Fencer Fencer
	// Check is a second look at images. Default: qemu-img, where there is one.
	Check images.Checker
	// AllowPrivateImport lets images be imported from addresses that are not public.
	AllowPrivateImport bool
}

// Controller is one process's part of the control plane. Backend answers for it;
// Run does what is to be done without being asked.
type Controller struct {
	o       Options
	entropy *entropy
	backend *Backend
	fetch   *images.Fetcher
}

// New makes a controller. It starts nothing.
func New(o Options) (*Controller, error) {
	if o.Store == nil || o.CA == nil || o.Now == nil || o.Rand == nil || o.DataDir == "" {
		return nil, errors.New("make a controller: Options needs Store, CA, Now, Rand and DataDir")
	}
	if o.Timer == nil {
		o.Timer = func(d time.Duration) (<-chan time.Time, func()) {
			t := time.NewTimer(d)
			return t.C, func() { t.Stop() }
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Place == nil {
		o.Place = scheduler.Place
	}
	if o.Check == nil {
		if o.Check = images.QemuImg(); o.Check == nil {
			o.Log.Warn("there is no qemu-img on this machine: images are judged by their headers alone; install qemu-utils")
		}
	}
	files, err := images.Open(o.DataDir, o.Check)
	if err != nil {
		return nil, err
	}
	e := &entropy{r: o.Rand}
	b := &Backend{
		store: o.Store, now: o.Now, entropy: e, log: o.Log, ca: o.CA, caPin: o.CA.Pin(), controllerCert: o.CA.Controller(o.Now), place: o.Place, images: files,
		beats: newHeartbeats(o.Now, o.Timer, o.Log, o.Store.SetAlive),
		feeds: newFeeds(o.Store, o.Log),
		found: &found{},
	}
	return &Controller{o: o, entropy: e, backend: b, fetch: images.NewFetcher(o.AllowPrivateImport)}, nil
}

// Backend is what REST is given.
func (c *Controller) Backend() *Backend { return c.backend }

// Run works until ctx ends, and returns when all that it started has ended.
// Several controllers on one store each run; one of them leads.
func (c *Controller) Run(ctx context.Context) error {
	defer c.fetch.Close()
	return together(ctx,
		func(ctx context.Context) error { c.backend.beats.run(ctx); return nil },
		c.backend.feeds.run,
		c.sweepImages,
		func(ctx context.Context) error { return lead(ctx, c.o.Store, c.o.Log, c.leaderWork()...) },
	)
}

func (c *Controller) leaderWork() []func(context.Context) error {
	return []func(context.Context) error{
		func(ctx context.Context) error {
			r := &reconcilers{store: c.o.Store, kinds: Kinds, place: c.o.Place, now: c.o.Now, timer: c.o.Timer, entropy: c.entropy, log: c.o.Log, failures: map[key]int{}}
			return r.run(ctx)
		},
		func(ctx context.Context) error { return newPlacements(c).run(ctx) },
		func(ctx context.Context) error { return newFencing(c).run(ctx) },
		func(ctx context.Context) error { return newImageKeeper(c.backend, c.fetch, c.o.Timer).run(ctx) },
	}
}
