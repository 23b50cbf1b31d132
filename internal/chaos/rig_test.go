package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
)

var prepare = sync.OnceValue(func() error {
	return errors.Join(testnet.Setup(context.Background()), testnet.Build(context.Background()))
})

// testSeries runs schedules of the seeds from first on; any that fails fails the test, with all that `make chaos` prints.
func testSeries(t *testing.T, o options, first uint64, n int) {
	t.Helper()
	needRoot(t)
	var out strings.Builder
	o.plane = "auto"
	err := series(t.Context(), &out, o, first, n)
	t.Log(out.String())
	if err != nil {
		t.Error(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	if err := prepare(); err != nil {
		t.Fatal(err)
	}
}

// TestFiftySchedules: always the same fifty, so that a change that breaks one is noticed.
func TestFiftySchedules(t *testing.T) {
	t.Parallel() // with the one below, which mostly waits
	testSeries(t, options{hosts: 3}, 1, 50)
}

// TestTenSchedulesWithDockerds: likewise, and the dockerds are killed, too.
func TestTenSchedulesWithDockerds(t *testing.T) {
	testSeries(t, options{hosts: 3, docker: true}, 1, 10)
}

// TestSchedulesWithThreeMembers: two, after the embedded etcd has grown to three members. A host that had joined by a token
// was no member any more when its agent was started again with that token.
func TestSchedulesWithThreeMembers(t *testing.T) {
	t.Parallel()
	testSeries(t, options{hosts: 3, members: 3}, 1, 2)
}

// testSchedule runs one schedule, which failed once, on hosts of its own.
func testSchedule(t *testing.T, faults ...Fault) {
	t.Helper()
	needRoot(t)
	r, err := newRig(t.Context(), options{hosts: 3, plane: "auto"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	s := Schedule{Faults: faults}
	if _, err := r.run(t.Context(), s); err != nil {
		r.report(t.Context(), &out, s, err)
		t.Error(out.String())
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
}

// TestStartedAtAnAddressThatGoesAway: an agent that started while its host had another address found nobody when the host had its
// old one again.
func TestStartedAtAnAddressThatGoesAway(t *testing.T) {
	testSchedule(t,
		Fault{Kind: "move", Host: 1, At: 10 * time.Millisecond, For: 2500 * time.Millisecond},
		Fault{Kind: "restart", Host: 1, At: 30 * time.Millisecond, For: 20 * time.Millisecond})
}

// TestHarnessCanFail: what a schedule does on purpose is reported, by the watcher whose matter it is, and only then.
func TestHarnessCanFail(t *testing.T) {
	needRoot(t)
	r, err := newRig(t.Context(), options{hosts: 2, plane: "auto"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		name, want string
		do         func(ctx context.Context, r *rig, f Fault) error
	}{
		{"a canary in the clear", "leak: a canary in the clear", sendCanary},
		{"an injected frame is delivered", "an injected frame", func(_ context.Context, r *rig, _ Fault) error {
			return deliver(r, 1, r.attacker.inner(1))
		}},
		{"a datagram is delivered twice", "for the second time", func(ctx context.Context, r *rig, _ Fault) error {
			return testnet.Until(ctx, patience, func() error {
				for n := r.traffic.pairs[0][1].sent.Load(); n > 0; n-- {
					if r.traffic.pairs[0][1].knows(n) {
						return deliver(r, 1, ipv4(r.traffic.boxes[0].addr, r.traffic.boxes[1].addr, protoUDP, udp(udpPort, udpPort, r.traffic.datagram(0, 1, n))))
					}
				}
				return errors.New("nothing has arrived")
			})
		}},
		{"a forged datagram is delivered", "nobody sent", func(_ context.Context, r *rig, _ Fault) error {
			b := r.traffic.datagram(0, 1, 1)
			b[40] ^= 1
			return deliver(r, 1, ipv4(r.traffic.boxes[0].addr, r.traffic.boxes[1].addr, protoUDP, udp(udpPort, udpPort, b)))
		}},
		{"nothing", "", func(context.Context, *rig, Fault) error { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			kinds["on purpose"] = kind{begin: c.do, takes: nothing, words: about(c.name + " on %s")}
			t.Cleanup(func() { delete(kinds, "on purpose") })
			_, err := r.run(t.Context(), Schedule{Faults: []Fault{{Kind: "on purpose", At: 10 * time.Millisecond, For: 10 * time.Millisecond}}})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("reported: %v; want %q", err, c.want)
			}
		})
	}
	t.Run("what is left behind", func(t *testing.T) {
		const route = "ip route %s 10.99.0.0/24 dev br-default"
		h := r.nodes[1].host
		if _, err := h.RunRouter(t.Context(), "sh", "-c", fmt.Sprintf(route, "add")); err != nil {
			t.Fatal(err)
		}
		if err := r.sameTables(t.Context()); err == nil || !strings.Contains(err.Error(), "+ route 10.99.0.0/24 br-default") {
			t.Error(err)
		}
		if _, err := h.RunRouter(t.Context(), "sh", "-c", fmt.Sprintf(route, "del")); err != nil {
			t.Fatal(err)
		}
		if err := r.sameTables(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("members of etcd that are lost", func(t *testing.T) {
		left := r.nodes[1].host.Data("meshsec/etcd.left")
		for _, c := range []struct {
			members    int
			do, undo   string
			complaints []string
		}{
			{1, "true", "true", nil},
			{3, "true", "true", []string{"h1 knows not 3 members", "h2 knows not 3 members"}},
			{1, "mkdir " + left, "rmdir " + left, []string{"h2 was put out of the members of etcd"}},
		} {
			r.members = c.members
			if _, err := r.nodes[1].host.Run(t.Context(), "sh", "-c", c.do); err != nil {
				t.Fatal(err)
			}
			err := r.council(t.Context())
			if (err == nil) != (c.complaints == nil) {
				t.Errorf("%+v: %v", c, err)
			}
			for _, want := range c.complaints {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in: %v", want, err)
				}
			}
			if _, err := r.nodes[1].host.Run(t.Context(), "sh", "-c", c.undo); err != nil {
				t.Fatal(err)
			}
		}
		r.members = 1
	})
	t.Run("what does not heal", func(t *testing.T) {
		if err := r.nodes[1].stop(t.Context(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := r.healthy(t.Context()); err == nil || !strings.Contains(err.Error(), "no meshsec agent runs") {
			t.Error(err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.settle(short)
		for _, want := range []string{"h1 to h2: 0 datagrams arrived", "h2 to h1: no TCP transfer"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q is missing in: %v", want, err)
			}
		}
	})
}

// sendCanary sends a canary from the first host to the second, in the clear.
func sendCanary(_ context.Context, r *rig, _ Fault) error {
	return r.nodes[0].host.Enter(func() error {
		conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: r.nodes[1].home.AsSlice(), Port: natT})
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write(r.watch.Canary[:])
		return err
	})
}

// deliver puts a packet onto the container's link of a host, from the router's side.
func deliver(r *rig, host int, packet []byte) error {
	n := r.nodes[host]
	mac, err := net.ParseMAC(n.container.MAC)
	if err != nil {
		return err
	}
	return n.host.EnterNetns("/run/meshsec/router", func() error {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(links, func(l net.Interface) bool { return strings.HasPrefix(l.Name, "mv") })
		if i < 0 {
			return errors.New("no port")
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, ethernet(mac, mac, packet), 0, &unix.SockaddrLinklayer{Ifindex: links[i].Index})
	})
}

// knows says whether the number has arrived.
func (p *pair) knows(n uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(n/64) < len(p.seen) && p.seen[n/64]&(1<<(n%64)) != 0
}
