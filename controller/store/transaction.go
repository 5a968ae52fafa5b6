package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/cairn-cloud/cairn/api"
)

// errConflict: something that a stage relies on was changed by another process.
var errConflict = errors.New("conflict")

// txnTimeout is how long etcd may take before a result counts as unknown.
const txnTimeout = 10 * time.Second

// writer is the mark that this process leaves with each of its transactions.
// Each compares the one before it, so one write of the key alone settles whether a
// transaction whose answer was lost was, or can still be, carried out.
type writer struct {
	key string
	rev int64 // of the last transaction; 0: the key is not there
	n   int64
}

func (w *writer) compare() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(w.key), "=", w.rev)
}

func (w *writer) put(day clientv3.LeaseID) clientv3.Op {
	w.n++
	return clientv3.OpPut(w.key, strconv.FormatInt(w.n, 10), clientv3.WithLease(day))
}

// transact carries out the stage and waits until the copy in memory has it. It
// returns errConflict when the stage must be made again.
func (s *Etcd) transact(ctx context.Context, st *stage) (int64, error) {
	if st.empty() {
		return st.base.rev, nil
	}
	day, err := s.dayLease(ctx)
	if err != nil {
		return 0, s.closing(ctx, fmt.Errorf("commit: %w", err))
	}
	cmps := append(st.compares(), s.writer.compare())
	ops := append(st.operations(day), s.writer.put(day))
	s.flight.Store(&flight{base: st.base.t, t: st.t, rev: st.pending(), mark: mark{s.writer.key, s.writer.n}, ops: len(ops)})
	defer s.flight.Store(nil)
	r, err := s.send(ctx, cmps, ops)
	var rev int64
	switch {
	case err != nil && errors.Is(err, rpctypes.ErrLeaseNotFound):
		s.day = day0 // it was revoked by hand; nothing was written
		return 0, errConflict
	case err != nil && errors.Is(err, rpctypes.ErrNoSpace):
		return 0, api.NewProblem(503, "unavailable", "", "a cloud administrator has to defragment etcd, or raise its quota, and disarm its alarm", "the store is full")
	case err != nil && definite(err):
		return 0, fmt.Errorf("commit: %w", err)
	case err != nil:
		s.log.Warn("the answer to a transaction was lost; finding out", "err", err)
		if rev, err = s.settle(ctx); err != nil {
			return 0, s.closing(ctx, err)
		}
		if rev == 0 {
			return 0, errConflict // it was not carried out, and cannot be any more
		}
	case !r.Succeeded:
		return 0, s.conflicted(ctx, st, r)
	default:
		rev = r.Header.Revision
	}
	s.writer.rev = rev
	if _, err := s.mirror.wait(ctx, rev); err != nil {
		return 0, s.closing(ctx, err)
	}
	return rev, nil
}

// send is one transaction. Its failing branch reads the writer's own mark.
func (s *Etcd) send(ctx context.Context, cmps []clientv3.Cmp, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, txnTimeout)
	defer cancel()
	if s.opts.intercept != nil {
		return s.opts.intercept(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return s.client.Txn(ctx).If(cmps...).Then(ops...).Else(clientv3.OpGet(s.writer.key)).Commit()
		})
	}
	return s.client.Txn(ctx).If(cmps...).Then(ops...).Else(clientv3.OpGet(s.writer.key)).Commit()
}

// definite tells whether the error says that the transaction was refused; after
// any other, it may have been carried out or be so later.
func definite(err error) bool {
	for _, no := range []error{
		rpctypes.ErrTooManyOps, rpctypes.ErrDuplicateKey, rpctypes.ErrRequestTooLarge,
		rpctypes.ErrUserEmpty, rpctypes.ErrPermissionDenied, rpctypes.ErrInvalidAuthToken,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// settle finds out whether the transaction whose answer was lost was carried out.
// It writes the mark under the condition that the transaction had: either that
// succeeds, and the transaction cannot any more, or the mark is the transaction's.
// It returns the transaction's revision, or 0.
func (s *Etcd) settle(ctx context.Context) (int64, error) {
	for ctx.Err() == nil {
		day, err := s.dayLease(ctx)
		if err == nil {
			var rev int64
			var done bool
			if rev, done, err = s.fence(ctx, day); done {
				return rev, nil
			}
		}
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			s.day = day0
		}
		s.log.Warn("etcd does not say what became of a transaction; asking again", "err", err)
		pause(ctx, retryAfter)
	}
	return 0, ctx.Err()
}

func (s *Etcd) fence(ctx context.Context, day clientv3.LeaseID) (rev int64, done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, txnTimeout)
	defer cancel()
	mine := strconv.FormatInt(s.writer.n, 10) // what the lost transaction wrote
	r, err := s.client.Txn(ctx).If(s.writer.compare()).
		Then(clientv3.OpPut(s.writer.key, "fence "+mine, clientv3.WithLease(day))).
		Else(clientv3.OpGet(s.writer.key)).Commit()
	switch {
	case err != nil:
		return 0, false, err
	case r.Succeeded:
		s.writer.rev = r.Header.Revision
		return 0, true, nil
	}
	kvs := r.Responses[0].GetResponseRange().Kvs
	switch {
	case len(kvs) == 0: // the lease ended: neither was there, nor can be while rev is compared
		s.writer.rev = 0
		return 0, true, nil
	case string(kvs[0].Value) == mine:
		return kvs[0].ModRevision, true, nil
	default: // a fence of ours whose own answer was lost
		s.writer.rev = kvs[0].ModRevision
		return 0, true, nil
	}
}

// conflicted waits for what made the transaction fail.
func (s *Etcd) conflicted(ctx context.Context, st *stage, r *clientv3.TxnResponse) error {
	mark := int64(0)
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		mark = kvs[0].ModRevision
	}
	if mark != s.writer.rev { // the mark's lease has ended
		s.writer.rev = mark
		return errConflict
	}
	wait, cancel := context.WithTimeout(ctx, newsWait)
	defer cancel()
	if _, err := s.mirror.wait(wait, st.base.rev+1); err == nil {
		return errConflict
	}
	if ctx.Err() != nil {
		return s.closing(ctx, ctx.Err())
	}
	return s.diagnose(ctx, st)
}

// diagnose finds the keys that are not as the copy in memory says, although
// nothing has changed: somebody has written to etcd around the store.
func (s *Etcd) diagnose(ctx context.Context, st *stage) error {
	ctx, cancel := context.WithTimeout(ctx, txnTimeout)
	defer cancel()
	for key, rev := range st.leads {
		r, err := s.client.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("commit: look into a conflict at %s: %w", key, err)
		}
		if len(r.Kvs) == 0 || r.Kvs[0].CreateRevision != rev {
			s.leaders.lost(key) // its end came before the leadership was known
		}
	}
	for _, c := range st.conds.list {
		r, err := s.client.Get(ctx, c.key)
		if err != nil {
			return fmt.Errorf("commit: look into a conflict at %s: %w", c.key, err)
		}
		mod := int64(0)
		if len(r.Kvs) > 0 {
			mod = r.Kvs[0].ModRevision
		}
		if mod <= st.base.rev && (c.exists && mod == 0 || !c.exists && mod != c.mod) {
			return foreign(c.key, mod)
		}
	}
	for at := range st.free {
		r, err := s.client.Get(ctx, refsKey(at.kind.name(), at.id), clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return fmt.Errorf("commit: look into a conflict at %s: %w", at.id, err)
		}
		rows := st.base.refRows(at)
		for _, kv := range r.Kvs {
			known := slices.ContainsFunc(rows, func(r refRow) bool { return refKey(r) == string(kv.Key) })
			if !known && kv.ModRevision <= st.base.rev {
				return foreign(string(kv.Key), kv.ModRevision)
			}
		}
	}
	return errConflict
}

func foreign(key string, mod int64) error {
	return fmt.Errorf("commit: the key %s, at revision %d in etcd, is not what the objects in the store come to: it was not written by a controller; delete it or restore it by hand", key, mod)
}

// closing turns the error of a context that ended with the store into ErrClosed.
func (s *Etcd) closing(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (the change may have been written)", ErrClosed)
	}
	return err
}
