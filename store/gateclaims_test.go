package store

import (
	"context"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func modified(key, is string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), is, revision)
}

// claimValue is a claim as the gate reads it, which does not look at signatures.
func claimValue(host string) string { return string(mustEncode(Claim{V: 1, Host: host})) }

func TestAClaimIsWrittenOnlyAsItWasSeen(t *testing.T) {
	s := embeddedServer(t)
	a, b := s.client(t), s.guest(t, hostB)
	key, taken := Prefix(testEnv)+"blocks/n/10.42.64.0/26", Prefix(testEnv)+"blocks/n/10.42.65.0/26"
	mine := clientv3.OpPut(key, claimValue(hostB))
	do := func(when clientv3.Cmp, op clientv3.Op) *clientv3.TxnResponse {
		t.Helper()
		r, err := b.Txn(callCtx(t)).If(when).Then(op).Else(clientv3.OpGet(taken)).Commit()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	made := do(absent(key), mine)
	again := do(modified(key, "=", made.Header.Revision), mine)
	if !made.Succeeded || !again.Succeeded {
		t.Fatal("an own claim is not written")
	}
	if do(absent(key), clientv3.OpDelete(key)).Succeeded || do(modified(key, "=", made.Header.Revision), clientv3.OpDelete(key)).Succeeded {
		t.Error("written otherwise than it was seen")
	}
	if !do(modified(key, "=", again.Header.Revision), clientv3.OpDelete(key)).Succeeded {
		t.Error("an own claim is not deleted")
	}
	put, err := a.Put(callCtx(t), taken, claimValue(hostA))
	if err != nil {
		t.Fatal(err)
	}
	// A host that was slower sees who was faster, and changes nothing by that.
	for _, when := range []clientv3.Cmp{absent(taken), modified(taken, "=", again.Header.Revision), modified(taken, "=", 0)} {
		if r := do(when, clientv3.OpPut(taken, claimValue(hostB))); r.Succeeded || claimHost(first(r, 0).Value) != hostA {
			t.Error("a claim that another host has was written")
		}
	}
	for what, when := range map[string]clientv3.Cmp{
		"another key": absent(taken + "0"), "present": present(taken), "as the other host wrote it": modified(taken, "=", put.Header.Revision),
		"below a revision": clientv3.Compare(clientv3.CreateRevision(taken), "<", 1<<40), "modified below a revision": modified(taken, "<", 1<<40),
		"at a revision to come": modified(taken, "=", put.Header.Revision+2), "created at a revision": clientv3.Compare(clientv3.CreateRevision(taken), "=", put.Header.Revision),
		"by its version": clientv3.Compare(clientv3.Version(taken), "=", 1), "by its value": clientv3.Compare(clientv3.Value(taken), "=", claimValue(hostA)),
		"a whole range": absent(taken).WithRange(taken), "a range at a revision": modified(taken, "=", 1).WithPrefix(),
	} {
		for _, op := range []clientv3.Op{clientv3.OpPut(taken, claimValue(hostB)), clientv3.OpDelete(taken)} {
			if _, err := b.Txn(callCtx(t)).If(when).Then(op).Commit(); !denied(err) {
				t.Errorf("%s: %v", what, err)
			}
			if _, err := b.Txn(callCtx(t)).If(absent(taken), when).Else(op).Commit(); !denied(err) {
				t.Errorf("%s, otherwise: %v", what, err)
			}
		}
	}
	if _, err := b.Txn(callCtx(t)).If(absent(key)).Then(clientv3.OpPut(key, "")).Commit(); !denied(err) {
		t.Errorf("nothing as a claim: %v", err)
	}
}

func TestNobodyGetsBetweenTheGatesLookAndTheWrite(t *testing.T) {
	s := embeddedServer(t)
	a, b := s.client(t), s.guest(t, hostB)
	key := Prefix(testEnv) + "blocks/n/10.42.64.0/26"
	g := s.embedded.gate
	look := g.look
	var meanwhile atomic.Value
	meanwhile.Store(func() {})
	g.stands(g.ca, func(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
		defer func() { meanwhile.Load().(func())() }()
		return look(ctx, r)
	})
	for _, free := range []bool{true, false} {
		for _, op := range []clientv3.Op{clientv3.OpPut(key, claimValue(hostB)), clientv3.OpDelete(key)} {
			for what, write := range map[string]func(seen int64) error{
				"plain": func(int64) error { _, err := b.Do(callCtx(t), op); return err },
				"unconditionally": func(int64) error {
					_, err := b.Txn(callCtx(t)).Then(op).Commit()
					return err
				},
				"as it was seen": func(seen int64) error {
					_, err := b.Txn(callCtx(t)).If(modified(key, "=", seen)).Then(op).Commit()
					return err
				},
			} {
				meanwhile.Store(func() {})
				r, err := a.Delete(callCtx(t), key)
				if err != nil {
					t.Fatal(err)
				}
				seen := r.Header.Revision
				if !free {
					r, err := a.Put(callCtx(t), key, claimValue(hostB))
					if err != nil {
						t.Fatal(err)
					}
					seen = r.Header.Revision
				}
				faster := func() { // the host gives the claim up, and another one takes it
					if _, err := a.Put(callCtx(t), key, claimValue(hostA)); err != nil {
						t.Error(err)
					}
				}
				var looked atomic.Bool
				meanwhile.Store(func() { looked.Store(true); faster() })
				err = write(seen)
				if !looked.Load() {
					faster()
				}
				if err != nil && !denied(err) {
					t.Errorf("%s: %v", what, err)
				}
				if r, err := a.Get(callCtx(t), key); err != nil || len(r.Kvs) != 1 || claimHost(r.Kvs[0].Value) != hostA {
					t.Errorf("%s, free %t, deleted %t: the other host's claim is gone: %v", what, free, op.IsDelete(), err)
				}
			}
		}
	}
}
