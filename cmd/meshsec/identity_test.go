package main

import (
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/settings"
	"github.com/meshsec/meshsec/store"
)

// home is a host's state folder and its settings.
type home struct {
	t     *testing.T
	paths paths
	set   settings.Settings
}

func newHome(t *testing.T) *home {
	return &home{t: t, paths: paths{run: "/run", state: t.TempDir()}, set: settings.Settings{Environment: "default", HostName: "h"}}
}

// start does what an agent's start does, and lets change alter the checkpoint before the agent ends.
func (h *home) start(change func(*store.Local)) (store.Identity, error) {
	h.t.Helper()
	cp, err := openCheckpoint(h.set, h.paths)
	if err != nil {
		return store.Identity{}, err
	}
	defer cp.Close()
	if change != nil {
		if err := cp.Update(func(l *store.Local) error { change(l); return nil }); err != nil {
			h.t.Fatal(err)
		}
	}
	return cp.Local().Identity, nil
}

func (h *home) mustStart(change func(*store.Local)) store.Identity {
	h.t.Helper()
	id, err := h.start(change)
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

func newToken(t *testing.T) store.Token {
	t.Helper()
	ca, err := store.NewCA("default")
	if err != nil {
		t.Fatal(err)
	}
	token, err := ca.NewToken([]string{"https://192.0.2.1:2379"}, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestAFounderKeepsItsIdentity(t *testing.T) {
	h := newHome(t)
	first := h.mustStart(nil)
	if first.CAKey.Empty() || first.HostID == "" || len(first.Endpoints) != 0 {
		t.Errorf("founded: %+v", first)
	}
	if again := h.mustStart(nil); again.HostID != first.HostID || string(again.CA) != string(first.CA) {
		t.Error("another identity after a restart")
	}
	h.set.HostID = "0123456789abcdef"
	if _, err := h.start(nil); err == nil || !strings.Contains(err.Error(), first.HostID) {
		t.Errorf("HOST_ID of another host: %v", err)
	}
}

func TestATokenMakesAHost(t *testing.T) {
	h := newHome(t)
	token := newToken(t)
	h.set.Join = token.Encode()
	router := netip.MustParseAddr("100.127.1.2")
	first := h.mustStart(func(l *store.Local) { l.Identity.Router = router })
	if first.HostID != token.HostID || !first.CAKey.Empty() {
		t.Errorf("joined: %+v", first)
	}
	if again := h.mustStart(nil); again.Router != router || string(again.Private.Bytes) != string(first.Private.Bytes) {
		t.Error("the same token made a new key or lost the router address")
	}
	h.set.Join = ""
	if again := h.mustStart(nil); again.HostID != token.HostID {
		t.Error("without JOIN it is another host")
	}
	h.set.Environment = "other"
	h.set.Join = token.Encode()
	if _, err := h.start(nil); err == nil || !strings.Contains(err.Error(), "other") || !strings.Contains(err.Error(), "default") {
		t.Errorf("wrong environment: %v", err)
	} else if strings.Contains(err.Error(), token.Encode()[:30]) {
		t.Error("the error prints the token")
	}
}

// TestAFounderMovesOver: JOIN on a host that founded an environment of its own makes it a member of the other one, unless it
// still has something in its own, and nothing of that one is taken along.
func TestAFounderMovesOver(t *testing.T) {
	h := newHome(t)
	founder := h.mustStart(func(l *store.Local) {
		l.Networks["n"] = store.LocalNetwork{DockerID: "n", Network: "default"}
		l.Blocks[store.BlockKey{Network: "default", Prefix: netip.MustParsePrefix("10.42.64.0/26")}] = store.Claim{V: 1, Host: l.Identity.HostID}
	})
	token := newToken(t)
	h.set.Join = token.Encode()
	if _, err := h.start(nil); err == nil || !strings.Contains(err.Error(), "1 networks") {
		t.Errorf("with a network: %v", err)
	}
	h.set.Join = ""
	if id := h.mustStart(func(l *store.Local) { delete(l.Networks, "n") }); id.HostID != founder.HostID {
		t.Error("the refused JOIN left traces")
	}
	h.set.Join = token.Encode()
	var blocks int
	id := h.mustStart(func(l *store.Local) { blocks = len(l.Blocks) })
	if id.HostID != token.HostID || !id.CAKey.Empty() || string(id.CA) == string(founder.CA) || id.Router.IsValid() || blocks != 0 {
		t.Errorf("moved over: %+v, %d blocks", id, blocks)
	}
}

// TestAFounderMovesOverWithoutItsOldFacts: a snapshot of the old environment would have another authority than the new one's
// etcd, whose facts would then be refused for ever.
func TestAFounderMovesOverWithoutItsOldFacts(t *testing.T) {
	h := newHome(t)
	h.mustStart(nil)
	h.follow(func(s *store.Store) bool { return s.Snapshot().CA != nil })
	token := newToken(t)
	h.set.Join = token.Encode()
	cp, err := openCheckpoint(h.set, h.paths)
	if err != nil {
		t.Fatal(err)
	}
	defer cp.Close()
	s, err := store.Open(store.Config{Environment: "default", Endpoints: token.Endpoints, Self: token.HostID}, cp, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if snap := s.Snapshot(); !snap.Empty() {
		t.Errorf("it starts with the facts of the environment that it left: revision %d of cluster %x", snap.Revision, snap.ClusterID)
	}
}

// follow runs the founder's store on an embedded etcd until ok, and ends it as an agent's end does.
func (h *home) follow(ok func(*store.Store) bool) {
	h.t.Helper()
	cp, err := openCheckpoint(h.set, h.paths)
	if err != nil {
		h.t.Fatal(err)
	}
	defer cp.Close()
	id := cp.Local().Identity
	ca, err := id.Authority()
	if err != nil {
		h.t.Fatal(err)
	}
	etcd, err := store.StartEmbedded(h.t.Context(), store.EmbedConfig{Dir: filepath.Join(h.paths.state, "etcd"), Name: id.HostID,
		Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, ClientPort: freePort(h.t), PeerPort: freePort(h.t), CA: ca, Log: quiet()})
	if err != nil {
		h.t.Fatal(err)
	}
	defer etcd.Close()
	tls, err := id.ClientTLS()
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := store.Open(store.Config{Environment: "default", Endpoints: etcd.Endpoints(), TLS: tls, Self: id.HostID}, cp, quiet())
	if err != nil {
		h.t.Fatal(err)
	}
	if err := s.Found(h.t.Context(), id.CA); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	teststore.Wait(h.t, "the facts", func() bool { return ok(s) })
	cancel()
	if err := <-done; err != nil {
		h.t.Error(err)
	}
}

func quiet() *logrus.Entry {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return logrus.NewEntry(log)
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
