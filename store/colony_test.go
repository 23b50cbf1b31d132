package store

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/freeport"
)

// colony is an environment whose embedded etcd grows, all of its hosts in this process.
type colony struct {
	founder Identity
	size    int // members that there are to be
	hosts   []*settler
}

// settler is a host of a colony.
type settler struct {
	*Store
	id    string
	cp    *Checkpoint
	cfg   EmbedConfig
	fact  Host
	size  int
	group *Membership
	halt  func()          // ends it, as a signal to its agent does; its disk stays
	over  <-chan struct{} // closed when its Membership has ended
}

// growth is what changes of the members get: they are several, with a pause after each that was not possible yet.
const growth = 2 * time.Minute

// quick are times for tests. A dead member is replaced after a moment.
var quick = CouncilTimes{Grace: 3 * time.Second, Settle: time.Millisecond, Wait: time.Minute, Every: 100 * time.Millisecond, Silent: 2 * time.Second}

// newColony founds one and lets further hosts join.
func newColony(t *testing.T, hosts int) *colony {
	t.Helper()
	return newColonyOf(t, 3, hosts)
}

func newColonyOf(t *testing.T, size, hosts int) *colony {
	t.Helper()
	id, err := FoundIdentity(testEnv, hostA, "host0")
	if err != nil {
		t.Fatal(err)
	}
	c := &colony{founder: id, size: size}
	for range hosts {
		c.settle(t)
	}
	return c
}

// settle adds a host.
func (c *colony) settle(t *testing.T) *settler {
	t.Helper()
	n := len(c.hosts)
	id := c.founder
	if n > 0 {
		ca, err := id.Authority()
		if err != nil {
			t.Fatal(err)
		}
		token, err := ca.NewTokenFor(fmt.Sprintf("%016x", n), c.urls(), fmt.Sprintf("host%d", n), 0)
		if err != nil {
			t.Fatal(err)
		}
		if id, err = JoinIdentity(token, ""); err != nil {
			t.Fatal(err)
		}
	}
	cp, _ := tempCheckpoint(t)
	mustUpdate(t, cp, func(l *Local) { l.Identity = id })
	h := &settler{id: id.HostID, cp: cp, size: c.size}
	h.cfg = EmbedConfig{Dir: filepath.Join(t.TempDir(), "etcd"), Name: id.HostID, Addrs: []netip.Addr{loopback}, ClientPort: freeport.Port(t), PeerPort: freeport.Port(t), Log: quietLog(t)}
	der, err := CertDER(id.Cert)
	if err != nil {
		t.Fatal(err)
	}
	h.fact = Host{Name: id.HostName, Arch: "amd64", Cert: der, Addrs: h.cfg.Addrs, Since: testTime.Add(time.Duration(n) * time.Minute),
		Etcd: EtcdPorts{uint16(h.cfg.ClientPort), uint16(h.cfg.PeerPort)}}
	c.hosts = append(c.hosts, h)
	h.start(t)
	if n == 0 {
		if err := h.Found(callCtx(t)); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// start runs the host, as its agent does.
func (h *settler) start(t *testing.T) {
	t.Helper()
	id := h.cp.Local().Identity
	var first *Embedded
	seeds, others := id.Endpoints, h.cp.OtherMembers(testEnv)
	if id.Serves() && len(others) == 0 {
		cfg := h.cfg
		cfg.CA = id.Trusted()
		var err error
		if first, err = StartEmbedded(callCtx(t), cfg); err != nil {
			t.Fatal(err)
		}
		seeds = first.Endpoints()
	}
	tls, err := h.cp.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	if len(seeds) == 0 {
		seeds = others
	}
	h.Store, err = Open(Config{Environment: testEnv, Endpoints: seeds, TLS: tls, Self: h.id, Members: h.size, LeaseTTL: 4 * time.Second,
		RemovalGrace: time.Millisecond}, h.cp, quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	h.group = NewMembership(h.Store, h.cp, h.cfg, first, seeds, quick)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	store, group := h.Store, h.group
	go func() { done <- store.Run(ctx) }()
	over := make(chan struct{})
	h.over = over
	go func() {
		err := group.Run(ctx)
		close(over)
		done <- err
	}()
	h.SetHost(h.fact)
	ended := false
	h.halt = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		for range 2 {
			if err := <-done; err != nil && !errors.Is(err, errBroken) {
				t.Error(err)
			}
		}
		_ = group.Close()
	}
	t.Cleanup(h.halt)
}

func (c *colony) urls() []string {
	u := serverURL(loopback, c.hosts[0].cfg.ClientPort)
	return []string{u.String()}
}

// voters are the hosts with a vote, by number, as a host knows them.
func (c *colony) voters(of *settler) []int {
	var list []int
	for i, h := range c.hosts {
		if slices.ContainsFunc(of.Snapshot().Members, func(m Member) bool { return m.Host == h.id && !m.Learner }) {
			list = append(list, i)
		}
	}
	return list
}

// await waits until all hosts that are named know these voters, and no learner.
func (c *colony) await(t *testing.T, want []int, all ...int) {
	t.Helper()
	deadline := time.Now().Add(growth)
	for _, i := range all {
		h := c.hosts[i]
		for !slices.Equal(c.voters(h), want) || len(h.Snapshot().Members) != len(want) {
			if time.Now().After(deadline) {
				t.Fatalf("host%d knows the members %+v, want %v; its own: %q", i, h.Snapshot().Members, want, h.group.Problem())
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}

// writes says whether a host can write, and the others see it.
func (c *colony) writes(t *testing.T, by int, all ...int) {
	t.Helper()
	name := "n" + NewHostID()
	n := testNetwork(name, "10.60.0.0/24")
	n.Pool = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(len(c.hosts[by].Snapshot().Networks) + 60), 0, 0}), 24)
	n.Dynamic, n.Gateway = []netip.Prefix{n.Pool}, n.Pool.Addr().Next()
	eventually(t, "a write by a host", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), callBudget)
		defer cancel()
		_, err := c.hosts[by].CreateNetwork(ctx, n)
		return err == nil
	})
	for _, i := range all {
		eventually(t, fmt.Sprintf("the write at host%d", i), func() bool { _, ok := c.hosts[i].Snapshot().Networks[name]; return ok })
	}
}

// saved waits until the host's snapshot on disk names the members that it knows.
func (h *settler) saved(t *testing.T) {
	t.Helper()
	eventually(t, "the snapshot on disk", func() bool { return len(h.cp.OtherMembers(testEnv)) >= 2 })
}

// returns waits until the host's own member serves. An agent whose member is broken for good ends, and is started anew.
func (h *settler) returns(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(growth); ; <-time.After(10 * time.Millisecond) {
		select {
		case <-h.over:
			h.halt()
			h.start(t)
		default:
		}
		e := h.group.now.Load()
		if e != nil && e.Serving() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("its member does not come back: %q, members %+v", h.group.Problem(), h.Snapshot().Members)
		}
	}
}
