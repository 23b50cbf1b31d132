package testnet_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/internal/testnet/leak"
)

// cluster makes one for a test and closes it at its end.
func cluster(t *testing.T, o testnet.Options) *testnet.Cluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	if err := testnet.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := testnet.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(c.Dir())); len(left) > 0 {
			t.Errorf("control groups left: %v", left)
		}
		if _, err := os.Stat(c.Dir()); err == nil {
			t.Errorf("%s left", c.Dir())
		}
	})
	return c
}

func TestHosts(t *testing.T) {
	c := cluster(t, testnet.Options{Hosts: 2})
	w := watch(t, c)
	w.Check(t)
	ctx := t.Context()
	late, err := c.AddHost(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range c.Hosts {
		for _, to := range []string{"172.30.0.1", "172.30.0.2", "172.30.0.3", testnet.Internet.String()} {
			if _, err := h.Run(ctx, "ping", "-c1", "-W2", to); err != nil {
				t.Error(err)
			}
		}
	}
	if name, err := late.Run(ctx, "hostname"); err != nil || name != "h3" {
		t.Errorf("host name %q, %v", name, err)
	}
	if _, err := late.Run(ctx, "sh", "-c", "echo why >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("a failing command: %v", err)
	}
	if err := c.SetPort(ctx, late, false); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Run(ctx, "ping", "-c1", "-W1", "172.30.0.1"); err == nil {
		t.Error("a host without cable reaches another")
	}
}

// TestPath: packets with DF pass the underlay, or one path of it, up to its MTU and no further, with an answer where one is wanted.
func TestPath(t *testing.T) {
	c := cluster(t, testnet.Options{Hosts: 3, MTU: 9000})
	ctx := t.Context()
	a, b, other := c.Hosts[0], c.Hosts[1], c.Hosts[2]
	passes := func(what string, from, to *testnet.Host, size int, want bool, complaint string) {
		t.Helper()
		_, err := from.Run(ctx, "ping", "-c1", "-W1", "-M", "do", "-s", fmt.Sprint(size-28), to.Addr.String())
		if (err == nil) != want {
			t.Errorf("%s: %d bytes pass: %v, want %v: %v", what, size, err == nil, want, err)
		}
		if err != nil && (complaint != "") != strings.Contains(err.Error(), "Frag needed") {
			t.Errorf("%s: %v", what, err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	passes("jumbo", a, b, 9000, true, "")
	for _, silent := range []bool{true, false} {
		must(c.Narrow(ctx, a, b, 1400, silent))
		what := fmt.Sprintf("narrow, silent %v", silent)
		complaint := map[bool]string{false: "Frag needed"}[silent]
		passes(what, a, b, 1400, true, "")
		passes(what, a, b, 1401, false, complaint)
		passes(what, b, a, 1400, true, "")
		passes(what, b, a, 1401, false, complaint)
		passes(what, a, other, 9000, true, "")
		must(c.Narrow(ctx, a, b, 0, false))
		passes("as before", a, b, 9000, true, "")
	}
	must(c.SetMTU(ctx, 1500))
	passes("small", a, other, 1500, true, "")
	passes("small", a, other, 1519, false, "") // a veth takes the four bytes of a VLAN tag more
}

func TestProcess(t *testing.T) {
	h := cluster(t, testnet.Options{Hosts: 1}).Hosts[0]
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p, err := h.Start("sleeper", []string{"WORD=hello"}, "sh", "-c", "trap 'echo bye; exit' TERM; echo $WORD; while :; do sleep 0.05; done")
	if err != nil {
		t.Fatal(err)
	}
	printed := func(word string) func() error {
		return func() error {
			if !strings.Contains(p.Output(), word) {
				return fmt.Errorf("output %q without %q", p.Output(), word)
			}
			return nil
		}
	}
	if err := testnet.Until(ctx, 5*time.Second, printed("hello")); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(ctx, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := printed("bye")(); err != nil {
		t.Error(err)
	}
	if err := p.Stop(ctx, unix.SIGTERM); err != nil {
		t.Errorf("stopped twice: %v", err)
	}
}

func watch(t *testing.T, c *testnet.Cluster) *leak.Watch {
	t.Helper()
	w, err := c.Watch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// TestHarnessCanFail sends a canary, a container's address and a foreign protocol in the clear, on purpose.
func TestHarnessCanFail(t *testing.T) {
	c := cluster(t, testnet.Options{Hosts: 2})
	w := watch(t, c)
	h, other := c.Hosts[0], c.Hosts[1]
	send := func(port int, payload []byte) error {
		return h.Enter(func() error {
			conn, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: other.Addr.AsSlice(), Port: port})
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write(payload)
			return err
		})
	}
	spoof := "ip addr add 10.42.7.7/32 dev lo; ip route add 10.42.7.8/32 via " + other.Addr.String() + "; ping -c1 -W0.1 -I 10.42.7.7 10.42.7.8; true"
	for _, step := range []struct {
		what string
		act  func() error
		why  string // empty: not a leak
	}{
		{"harmless payload to 4500", func() error { return send(4500, []byte("nothing to see here")) }, ""},
		{"canary to 4500", func() error { return send(4500, append([]byte("xx"), w.Canary[:]...)) }, "canary"},
		{"another port", func() error { return send(4501, []byte("nothing")) }, "UDP 4501 between hosts"},
		{"container address", func() error { _, err := h.Run(t.Context(), "sh", "-c", spoof); return err }, "container address 10.42.7.7"},
	} {
		since := time.Now()
		if err := step.act(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if err := w.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		leaks := w.Leaks(since)
		if (len(leaks) > 0) != (step.why != "") {
			t.Errorf("%s: leaks: %v", step.what, leaks)
		} else if len(leaks) > 0 && !strings.Contains(leaks[0].String(), step.why) {
			t.Errorf("%s: %s, want %s", step.what, leaks[0], step.why)
		}
	}
}

func TestDockerd(t *testing.T) {
	c := cluster(t, testnet.Options{Hosts: 3, Docker: true})
	watch(t, c).Check(t)
	for _, h := range c.Hosts {
		out, err := h.Docker(t.Context(), "run", "--rm", testnet.Image, "/probe", "ping", "-count", "1", testnet.Internet.String())
		if err != nil || !strings.Contains(out, `"received":1`) {
			t.Errorf("%s: %q, %v", h.Name, out, err)
		}
	}
	h := c.Hosts[0]
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := h.StopDockerd(t.Context(), sig); err != nil {
			t.Fatal(err)
		}
		if err := h.StartDockerd(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Docker(t.Context(), "run", "-d", "--name", "web", testnet.Image); err != nil {
		t.Error(err)
	}
}

// TestVariablesOfTheTests: they are no settings of an agent, which refuses those that it does not know.
func TestVariablesOfTheTests(t *testing.T) {
	t.Setenv("MESHSEC_ENGINE", "20.10")
	c := cluster(t, testnet.Options{Hosts: 1})
	out, err := c.Hosts[0].Run(t.Context(), "sh", "-c", "set")
	if err != nil || strings.Contains(out, "MESHSEC_") || !strings.Contains(out, "PATH=") {
		t.Errorf("%v: %s", err, out)
	}
}
