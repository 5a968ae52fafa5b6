package store

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Options of Open. One of Embedded, Endpoints, Beside and Client says where etcd is.
type Options struct {
	Now  func() time.Time
	Rand io.Reader // for the ID of this process
	Log  *slog.Logger
	// Name of this controller, and the URL of its API: what others learn of it.
	Name, API string

	// Embedded runs etcd in this process.
	Embedded *Embedded
	// Endpoints are the client URLs of an etcd cluster, TLS how to speak to it.
	Endpoints []string
	TLS       *tls.Config
	// Beside opens another store on the etcd of one that is open, as a second
	// controller process would.
	Beside *Etcd
	// Client is a client of an etcd. Its owner closes it, after the store.
	Client *clientv3.Client

	// MaxTxnOps is how many operations etcd allows in a transaction. 0: 128,
	// etcd's default; 2048 where it is embedded.
	MaxTxnOps int
	// History is how many revisions watchers can go back. 0: 10,000.
	History int
	// SessionTTL is after how long a controller that died counts as gone. 0: 10 s.
	SessionTTL time.Duration
	// DetectMutations makes Close fail when somebody changed an object in memory.
	DetectMutations bool

	newest    int // schema; 0: that of api.Kinds
	intercept func(context.Context, func(context.Context) (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error)
}

func (o *Options) complete() error {
	if o.Now == nil || o.Rand == nil {
		return errors.New("open the store: it needs a clock and a source of randomness")
	}
	n := 0
	for _, given := range []bool{o.Embedded != nil, len(o.Endpoints) > 0, o.Beside != nil, o.Client != nil} {
		if given {
			n++
		}
	}
	if n != 1 {
		return errors.New("open the store: give one of an embedded etcd, endpoints, a client, and a store to be beside")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxTxnOps == 0 {
		o.MaxTxnOps = 128
		if o.Embedded != nil {
			o.MaxTxnOps = embeddedTxnOps
		} else if o.Beside != nil {
			o.MaxTxnOps = o.Beside.opts.MaxTxnOps
		}
	}
	if o.History == 0 {
		o.History = 10_000
	}
	if o.SessionTTL == 0 {
		o.SessionTTL = 10 * time.Second
	}
	if o.newest == 0 {
		o.newest = newestSchema()
	}
	return nil
}

// processID draws the ID of this process.
func (o *Options) processID() (string, error) {
	var b [8]byte
	if _, err := io.ReadFull(o.Rand, b[:]); err != nil {
		return "", fmt.Errorf("draw the ID of this process: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
