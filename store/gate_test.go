package store

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// guest is an etcd client with the certificate of a host that does not run the server.
func (s *server) guest(t testing.TB, host string) *clientv3.Client {
	t.Helper()
	cfg := s.config(t, host)
	var err error
	if cfg.TLS, err = s.identity(t, host).ClientTLS(); err != nil {
		t.Fatal(err)
	}
	c, err := newClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func denied(err error) bool { return status.Code(err) == codes.PermissionDenied }

func TestHostsWriteOnlyTheirOwnKeys(t *testing.T) {
	s := embeddedServer(t)
	b := s.guest(t, hostB)
	p := Prefix(testEnv)
	put := func(key string) clientv3.Op { return clientv3.OpPut(key, "{}") }
	block := "blocks/n/10.42.64.0/26"
	mine, theirs := string(mustEncode(Claim{V: 1, Host: hostB})), string(mustEncode(Claim{V: 1, Host: hostA}))
	ca, err := s.founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	renewal := func(ca CA, host string) clientv3.Op {
		cert, _, err := ca.Issue(host, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		der, err := CertDER(cert)
		if err != nil {
			t.Fatal(err)
		}
		return clientv3.OpPut(p+"certs/"+hostB, string(mustEncode(Renewal{V: 1, Host: hostB, Cert: der})))
	}
	revoked := func(ca CA) clientv3.Op {
		_, key, err := keyPair(ca.Cert, ca.Key)
		if err != nil {
			t.Fatal(err)
		}
		name := revokedKey("cccccccccccccccc").String()
		return clientv3.OpPut(p+name, string(seal(key.(ed25519.PrivateKey), testEnv, name, mustEncode(Revocation{V: 1, Host: "cccccccccccccccc"}))))
	}
	founding := func(ca CA) clientv3.Op {
		der, err := CertDER(ca.Cert)
		if err != nil {
			t.Fatal(err)
		}
		return clientv3.OpPut(p+"ca", string(mustEncode(authority{V: 1, Cert: der})))
	}
	if _, err := s.client(t).Put(callCtx(t), p+"blocks/n/10.42.65.0/26", theirs); err != nil {
		t.Fatal(err)
	}
	yes := []clientv3.Op{put(p + "hosts/" + hostB), put(p + "endpoints/" + hostB + "/default/10.42.0.9"), put(p + "alive/" + hostB), put(p + "networks/n"),
		put(p + "released/" + hostB + "/" + block),
		renewal(ca, hostB), revoked(ca), founding(ca), clientv3.OpGet(p, clientv3.WithPrefix())}
	no := []clientv3.Op{put(p + "hosts/" + hostA), put(p + "endpoints/" + hostA + "/default/10.42.0.9"), put(p + "alive/" + hostA), put("/other"), put("/meshsec/"),
		put(p + "released/" + hostA + "/" + block), put(p + block), clientv3.OpPut(p+block, mine), clientv3.OpPut(p+block, theirs), clientv3.OpPut(p+block, ""), clientv3.OpDelete(p + block), clientv3.OpPut(p+"blocks/n/10.42.65.0/26", mine),
		clientv3.OpDelete(p + "blocks/n/10.42.65.0/26"), put(p + "weather"), put(p + "members"), put(p + "servers/" + hostB), put(p + "ca"), founding(stranger), clientv3.OpDelete(p + "ca"),
		renewal(stranger, hostB), renewal(ca, hostA), clientv3.OpDelete(p + "certs/" + hostB), put(p + "revoked/" + hostA), revoked(stranger),
		clientv3.OpDelete(p + "revoked/cccccccccccccccc"), clientv3.OpDelete(p + "hosts/" + hostA), clientv3.OpDelete(p, clientv3.WithPrefix()),
		clientv3.OpDelete(p+"hosts/"+hostB, clientv3.WithPrefix())}
	for _, op := range yes {
		if _, err := b.Do(callCtx(t), op); err != nil {
			t.Errorf("%s: %v", op.KeyBytes(), err)
		}
	}
	for _, op := range no {
		if _, err := b.Do(callCtx(t), op); !denied(err) {
			t.Errorf("%s: %v", op.KeyBytes(), err)
		}
		if _, err := b.Txn(callCtx(t)).Then(op).Commit(); !denied(err) {
			t.Errorf("%s in a transaction: %v", op.KeyBytes(), err)
		}
		if _, err := b.Txn(callCtx(t)).Then(clientv3.OpTxn(nil, nil, []clientv3.Op{op})).Commit(); !denied(err) {
			t.Errorf("%s in a transaction's transaction: %v", op.KeyBytes(), err)
		}
	}
	ctx := callCtx(t)
	_, err1 := b.MemberAddAsLearner(ctx, []string{"https://192.0.2.1:2380"})
	_, err2 := b.Compact(ctx, 1)
	_, err3 := b.AuthEnable(ctx)
	_, err4 := b.Defragment(ctx, s.endpoints[0])
	backup, err5 := b.Snapshot(ctx)
	if err5 == nil {
		_, err5 = backup.Read(make([]byte, 1))
	}
	_, err6 := b.MoveLeader(ctx, 1)
	_, err7 := b.MemberRemove(ctx, 1)
	for n, err := range []error{err1, err2, err3, err4, err5, err6, err7} {
		if !denied(err) {
			t.Errorf("administration %d: %v", n+1, err)
		}
	}
	if _, err := s.client(t).MemberList(ctx); err != nil {
		t.Errorf("the server's own host: %v", err)
	}
}

func TestRemovedHostsLoseEtcd(t *testing.T) {
	s := embeddedServer(t)
	own := func(c *Config) {
		var err error
		if c.TLS, err = s.identity(t, c.Self).ClientTLS(); err != nil {
			t.Fatal(err)
		}
	}
	a, b := s.join(t, hostA), s.join(t, hostB, own)
	ca, err := s.founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	spy := s.guest(t, hostB)
	watch := spy.Watch(callCtx(t), Prefix(testEnv), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-watch
	b.stop() // so that it does not hear of it in time
	if err := a.Revoke(callCtx(t), ca, hostB); err != nil {
		t.Fatal(err)
	}
	s.embedded.ShutOut([]string{hostB, hostA})
	ended := false
	for deadline := time.After(patience); !ended; {
		select {
		case r, ok := <-watch:
			ended = !ok || r.Err() != nil
		case <-deadline:
			t.Fatal("its watch goes on")
		}
	}
	for _, op := range []clientv3.Op{clientv3.OpGet(Prefix(testEnv), clientv3.WithPrefix()), clientv3.OpPut(Prefix(testEnv)+"hosts/"+hostB, "{}"),
		clientv3.OpGet(a.key(revokedKey(hostA)))} {
		if _, err := spy.Do(callCtx(t), op); !denied(err) || !strings.Contains(err.Error(), "removed") {
			t.Errorf("%s: %v", op.KeyBytes(), err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if r, ok := <-spy.Watch(ctx, Prefix(testEnv), clientv3.WithPrefix()); ok && r.Err() == nil {
		t.Error("a new watch was opened")
	}
	again := s.joinWith(t, hostB, b.cp, own)
	again.await(t, "its revocation", func(*Snapshot) bool { return errors.Is(again.Removed(), ErrRemoved) })
	if _, err := a.ClaimRouter(callCtx(t), netip.MustParsePrefix("100.127.0.0/16")); err != nil {
		t.Errorf("the server's own host: %v", err)
	}
}
