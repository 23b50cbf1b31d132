package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// cutFromEtcd lets nothing pass from hosts to the embedded etcd on the founder, while all else does, until mend is called.
func (s *suite) cutFromEtcd(t *testing.T, hosts ...*testnet.Host) (mend func(ctx context.Context) error) {
	t.Helper()
	const etcd = "tcp dport { 2379, 2380 }"
	mend = func(ctx context.Context) (err error) {
		for _, h := range hosts {
			err = errors.Join(err, s.Mend(ctx, h, s.Hosts[0], etcd))
		}
		return err
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanup)
		defer cancel()
		if err := mend(ctx); err != nil {
			t.Error(err)
		}
	})
	for _, h := range hosts {
		if err := s.Cut(t.Context(), h, s.Hosts[0], etcd); err != nil {
			t.Fatal(err)
		}
	}
	return mend
}

// facts are the endpoints that the host knows, a line each.
func facts(ctx context.Context, h *testnet.Host) (string, error) {
	var all []control.Endpoint
	if err := h.MeshsecJSON(ctx, &all, "endpoints"); err != nil {
		return "", err
	}
	var lines []string
	for _, e := range all {
		lines = append(lines, fmt.Sprintf("%s %v %s %s %s %q", e.Network, e.Addr, e.MAC, e.HostID, e.ID, e.Name))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

// TestRebootWithoutEtcd: a host boots while etcd is away. By what is on its disk its containers start, those with --ip with their
// addresses, find their peers on hosts with and without etcd, by name, too, are found, and talk. One without --ip has an address that no
// other host can have heard of, where dockerd does not say for whom it asks: it talks within its host. When etcd is back all hosts know the same.
func TestRebootWithoutEtcd(t *testing.T) {
	s := shared(t)
	founder, near, h := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	settled(t, s)
	before := footprint(t, s)
	const static = "10.42.6.9"
	always := append([]string{"--restart", "always"}, useful...)
	peers := []*testnet.Container{start(t, founder, mesh, "first", useful...), start(t, near, mesh, "second", useful...)}
	fixed := start(t, h, mesh, "fixed", append(always, "--ip", static)...)
	loose := start(t, h, mesh, "loose", always...)
	for _, p := range peers {
		s.reach(t, p, fixed.Addr)
		s.reach(t, p, loose.Addr)
		finds(t, fixed, p.Name, p.Addr.String()) // it is known here, so it is on the disk
		finds(t, p, fixed.Name, fixed.Addr.String())
		finds(t, p, loose.Name, loose.Addr.String())
	}
	mend := s.cutFromEtcd(t, near, h)
	rebootHost(t, h)
	began := time.Now()
	had := loose.Addr
	fixed, loose = back(t, fixed), back(t, loose)
	if fixed.Addr != netip.MustParseAddr(static) {
		t.Errorf("it has %v instead of %s", fixed.Addr, static)
	}
	alone(t, founder, loose)
	withoutEtcd(t, h)
	for _, p := range peers {
		s.reach(t, p, fixed.Addr)
		s.reach(t, fixed, p.Addr)
		if _, err := fixed.Transfer(t.Context(), s.watch.Canary, p.Addr, megabyte); err != nil {
			t.Error(err)
		}
		finds(t, fixed, p.Name, p.Addr.String())
		finds(t, loose, p.Name, p.Addr.String())
		finds(t, p, fixed.Name, fixed.Addr.String())
		if loose.Addr == had {
			s.reach(t, loose, p.Addr)
		}
	}
	s.reach(t, loose, fixed.Addr)
	docker(t, h, []string{"restart", "-t", "0", fixed.Name})
	if fixed = back(t, fixed); fixed.Addr != netip.MustParseAddr(static) {
		t.Errorf("restarted it has %v instead of %s", fixed.Addr, static)
	}
	s.reach(t, fixed, peers[1].Addr)
	fresh := start(t, h, mesh, "fresh")
	s.reach(t, fixed, fresh.Addr)
	finds(t, fixed, loose.Name, loose.Addr.String())
	withoutEtcd(t, h)
	t.Logf("figure: all that %.1f s after dockerd answered; without --ip %v had become %v", time.Since(began).Seconds(), had, loose.Addr)

	if err := mend(t.Context()); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	sameFacts(t, s, fixed, loose, fresh)
	t.Logf("figure: all hosts know the same %.1f s after etcd was back", time.Since(began).Seconds())
	for _, host := range s.Hosts {
		eventually(t, "the health of "+host.Name, func() error {
			var status control.Status
			err := host.MeshsecJSON(t.Context(), &status, "status")
			if err == nil && (status.Health != control.OK || status.FromDisk || len(status.Ignored) > 0) {
				err = fmt.Errorf("%+v", status)
			}
			return err
		})
	}
	for _, p := range peers {
		s.reach(t, loose, p.Addr)
		s.reach(t, p, fresh.Addr)
		finds(t, p, loose.Name, loose.Addr.String())
	}
	remove(t, h, fixed.Name, loose.Name, fresh.Name)
	remove(t, near, "second")
	remove(t, founder, "first")
	leftNothing(t, s, before)
}

// back waits for a container that its dockerd has started again.
func back(t *testing.T, c *testnet.Container) (now *testnet.Container) {
	t.Helper()
	eventually(t, "the start of "+c.Name, func() (err error) {
		now, err = c.Host.Container(t.Context(), mesh, c.Name)
		return err
	})
	return now
}

// alone fails the test if the container's address is that of another host's container.
func alone(t *testing.T, knows *testnet.Host, c *testnet.Container) {
	t.Helper()
	if e, err := known(t.Context(), knows, c.Addr); err == nil && e.Host != c.Host.Name {
		t.Errorf("%s has %v, which %s on %s has", c.Name, c.Addr, e.Name, e.Host)
	}
}

// withoutEtcd fails the test if the host has heard of etcd since its start, for then this shows nothing.
func withoutEtcd(t *testing.T, h *testnet.Host) {
	t.Helper()
	var status control.Status
	if err := h.MeshsecJSON(t.Context(), &status, "status"); err != nil {
		t.Fatal(err)
	}
	if !status.FromDisk || status.Etcd.Reachable || status.Health != control.Degraded {
		t.Fatalf("it has heard of etcd: %+v", status)
	}
}

// sameFacts waits until all hosts know the same endpoints, and these containers' as they are.
func sameFacts(t *testing.T, s *suite, all ...*testnet.Container) {
	t.Helper()
	eventually(t, "the same facts on all hosts", func() error {
		var first string
		for i, h := range s.Hosts {
			list, err := facts(t.Context(), h)
			if err != nil {
				return err
			}
			if i == 0 {
				first = list
			} else if list != first {
				return fmt.Errorf("%s knows\n%s\n%s knows\n%s", s.Hosts[0].Name, first, h.Name, list)
			}
		}
		for _, c := range all {
			if e, err := known(t.Context(), s.Hosts[0], c.Addr); err != nil || e.Name != c.Name || e.Host != c.Host.Name {
				return errors.Join(err, fmt.Errorf("%s is not known as it is, but as %+v", c.Name, e))
			}
		}
		return nil
	})
}
