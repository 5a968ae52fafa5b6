package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Dump reads all keys of the store under the prefix (such as "/cairn/claim/"),
// as they are in etcd. It is for tests and for people: what is left when everything is deleted?
func (s *Etcd) Dump(ctx context.Context, under string) (map[string]string, error) {
	r, err := s.client.Get(ctx, under, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("dump %s: %w", under, err)
	}
	out := map[string]string{}
	for _, kv := range r.Kvs {
		out[string(kv.Key)] = string(kv.Value)
	}
	return out, nil
}
