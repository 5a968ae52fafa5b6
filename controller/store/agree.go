package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Agree says under a name what all processes on this etcd must have in common,
// such as the CA that hosts trust, and returns what the first of them said.
func (s *Etcd) Agree(ctx context.Context, name, mine string) (theirs string, err error) {
	key := clusterPrefix + name
	r, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, mine)).Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return "", fmt.Errorf("agree on the %s: %w", name, err)
	}
	if r.Succeeded {
		return mine, nil
	}
	return string(r.Responses[0].GetResponseRange().Kvs[0].Value), nil
}
