package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/cairn-cloud/cairn/api"
)

// Member is a controller that has a copy of the store.
type Member struct {
	ID      uint64
	Name    string // empty until it has started once
	PeerURL string
	API     string
	Learner bool // it has not caught up yet
}

// ErrNotEmbedded means that the members of etcd are not the controllers.
var ErrNotEmbedded = errors.New("etcd does not run in the controllers")

// Members are the controllers that have a copy of the store, by name.
func (s *Etcd) Members(ctx context.Context) ([]Member, error) {
	if s.server == nil {
		return nil, ErrNotEmbedded
	}
	r, err := s.server.client.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the members: %w", err)
	}
	var out []Member
	for _, m := range r.Members {
		x := Member{ID: m.ID, Name: m.Name, Learner: m.IsLearner}
		if len(m.PeerURLs) > 0 {
			x.PeerURL = m.PeerURLs[0]
		}
		if len(m.ClientURLs) > 0 {
			x.API = m.ClientURLs[0]
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name+a.PeerURL, b.Name+b.PeerURL) })
	return out, nil
}

// AddMember implements Store.
func (s *Etcd) AddMember(ctx context.Context, peerURL string) ([]string, error) {
	if s.server == nil {
		return nil, nil
	}
	members, err := s.Members(ctx)
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, m := range members {
		urls = append(urls, m.PeerURL)
	}
	if slices.Contains(urls, peerURL) {
		return urls, nil
	}
	if s.opts.Embedded.Peer == nil {
		return nil, errors.New("add a controller: this one listens for no others")
	}
	err = reconfigure(ctx, func(ctx context.Context) error {
		_, err := s.server.client.MemberAddAsLearner(ctx, []string{peerURL})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("add the controller at %s: %w", peerURL, err)
	}
	return append(urls, peerURL), nil
}

// RemoveMember implements Store.
func (s *Etcd) RemoveMember(ctx context.Context, id uint64) error {
	if s.server == nil {
		return ErrNotEmbedded
	}
	err := reconfigure(ctx, func(ctx context.Context) error {
		_, err := s.server.client.MemberRemove(ctx, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove the member %x: %w", id, err)
	}
	return nil
}

// settled is how long a change of the members waits until etcd allows it: it
// wants the members to have been connected to each other for five seconds.
const settled = 12 * time.Second

// reconfigure changes the members, and explains why etcd refuses.
func reconfigure(ctx context.Context, change func(context.Context) error) error {
	wait, cancel := context.WithTimeout(ctx, settled)
	defer cancel()
	for {
		err := change(wait)
		if errors.Is(err, rpctypes.ErrUnhealthy) && wait.Err() == nil {
			if pause(wait, retryAfter); wait.Err() == nil {
				continue
			}
		}
		for _, no := range []error{rpctypes.ErrUnhealthy, rpctypes.ErrMemberNotEnoughStarted, rpctypes.ErrTooManyLearners} {
			if errors.Is(err, no) {
				return api.NewProblem(409, "controllers_unhealthy", "", "see `cairn controller list`; start those that are away, or remove those that are gone for good first", "the other controllers are not well enough for it: %s", no)
			}
		}
		return err
	}
}
