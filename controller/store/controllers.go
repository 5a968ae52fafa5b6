package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Controller is one process of the control plane.
type Controller struct {
	Name string
	API  string // URL
	// Lives: it holds its lease. Leads: it has the lead.
	Lives, Leads bool
	// Member is its part in the embedded etcd; nil where etcd is not in the controllers.
	Member *Member
}

// Controllers implements Store.
func (s *Etcd) Controllers(ctx context.Context) ([]Controller, error) {
	leader, err := s.leader(ctx)
	if err != nil {
		return nil, err
	}
	members, err := s.Members(ctx)
	if err != nil && !errors.Is(err, ErrNotEmbedded) {
		return nil, err
	}
	var out []Controller
	for i, m := range members {
		out = append(out, Controller{Name: m.Name, API: m.API, Member: &members[i]})
	}
	s.mirror.view().t.live.Scan(func(id string, c controllerInfo) bool {
		at := slices.IndexFunc(out, func(x Controller) bool { return x.Name == c.Name && x.API == c.API })
		if at < 0 && s.server != nil {
			return true // it was removed, and its lease has not ended yet
		}
		if at < 0 {
			at = len(out)
			out = append(out, Controller{Name: c.Name, API: c.API})
		}
		out[at].Lives = true
		out[at].Leads = out[at].Leads || id == leader
		return true
	})
	slices.SortStableFunc(out, func(a, b Controller) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// leader is the ID of the process that leads; "" where none does.
func (s *Etcd) leader(ctx context.Context) (string, error) {
	r, err := s.client.Get(ctx, electionPrefix+ControllerElection+"/", clientv3.WithFirstCreate()...)
	if err != nil {
		return "", fmt.Errorf("find the leader: %w", err)
	}
	if len(r.Kvs) == 0 {
		return "", nil
	}
	return string(r.Kvs[0].Value), nil
}

// ControllerElection is the name of the election of those who place and reconcile.
const ControllerElection = "controller"
