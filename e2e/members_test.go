package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestTheFirstHostIsLostForGood: the embedded etcd has grown to three members by itself. Without the first host, whose power is cut,
// containers start, addresses are claimed, networks are made and hosts join, by a token of another host that was given the authority.
func TestTheFirstHostIsLostForGood(t *testing.T) {
	s := own(t, 3)
	ctx := t.Context()
	if err := s.joinAll(ctx, "ETCD_MEMBERS=3"); err != nil {
		t.Fatal(err)
	}
	founder, second, third := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	a, b := start(t, second, mesh, "one"), start(t, third, mesh, "two")
	s.reach(t, a, b.Addr)
	if out, err := founder.Meshsec(ctx, "ca", "export", "/run/ca.pem"); err != nil {
		t.Fatal(err, out)
	}
	ca, err := os.ReadFile(founder.Path("/run/ca.pem"))
	if err == nil {
		err = os.WriteFile(second.Path("/run/ca.pem"), ca, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := second.Meshsec(ctx, "ca", "import", "/run/ca.pem"); err != nil {
		t.Fatal(err, out)
	}
	began := time.Now()
	for _, h := range s.Hosts {
		spare(t, h, 3, 1)
	}
	t.Logf("figure: three members %.1f s after the hosts had met", time.Since(began).Seconds())

	began = time.Now()
	if _, err := founder.Run(ctx, "ip", "link", "set", "eth0", "down"); err != nil { // nothing comes back from there, not even a refusal
		t.Fatal(err)
	}
	eventually(t, "a static address without the first host", func() error {
		_, err := third.Docker(ctx, "run", "-d", "--name", "fixed", "--network", mesh, "--ip", "10.42.3.3", testnet.Image)
		if err != nil {
			remove(t, third, "fixed")
		}
		return err
	})
	t.Cleanup(func() { remove(t, third, "fixed") })
	t.Logf("figure: a static address %.1f s after the first host's end", time.Since(began).Seconds())
	if err := createNetwork(t, second, "later"); err != nil {
		t.Error(err)
	}
	fresh := start(t, second, "later", "fresh")
	if fixed, err := third.Container(ctx, mesh, "fixed"); err != nil {
		t.Error(err)
	} else {
		s.reach(t, a, fixed.Addr)
	}
	s.reach(t, b, a.Addr)
	fourth, err := s.AddHost(ctx)
	if err != nil {
		t.Fatal(err)
	}
	token, err := second.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := fourth.InstallPlugin(ctx, append(planeSettings(fourth), "ETCD_MEMBERS=3", "JOIN="+token)...); err != nil {
		t.Fatal(err)
	}
	if err := createNetwork(t, fourth, "later"); err != nil {
		t.Fatal(err)
	}
	guest := start(t, fourth, "later", "guest")
	s.reach(t, guest, fresh.Addr)
	spare(t, third, 3, 0)

	// The second host is lost as well, and with it the vote.
	if _, err := second.Run(ctx, "ip", "link", "set", "eth0", "down"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a word of what helps", func() error {
		var st control.Status
		if err := third.MeshsecJSON(ctx, &st, "status"); err != nil {
			return err
		}
		if text := strings.Join(st.Warnings, "\n"); !strings.Contains(text, "meshsec etcd-recover") {
			return errors.New(text)
		}
		return nil
	})
	for lost, word := range map[string]string{"h1": "2 of 3 members would be left", "h1,h4": "h4"} {
		if out, err := third.Meshsec(ctx, "etcd-recover", "--lost", lost); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("--lost %s: %s, %v; no word of %q", lost, out, err, word)
		}
	}
	cut := make(chan error, 1)
	go func() {
		_, err := third.Meshsec(ctx, "etcd-recover", "--lost", "h1,h2")
		cut <- err
	}()
	if _, err := third.KillAgent(unix.SIGKILL); err != nil { // Docker starts it anew
		t.Fatal(err)
	}
	t.Logf("figure: a recovery whose agent was killed said %v", <-cut)
	began = time.Now()
	eventually(t, "the recovery, typed once more", func() error {
		_, err := third.Meshsec(ctx, "etcd-recover", "--lost", "h1,h2")
		if err != nil && strings.Contains(err.Error(), "nothing to recover") { // the first one had come far enough
			return nil
		}
		return err
	})
	if err := createNetwork(t, third, "alone"); err != nil {
		t.Error(err)
	}
	t.Logf("figure: a network %.1f s after the word to go on alone", time.Since(began).Seconds())
	spare(t, third, 1, 0)
	spare(t, fourth, 1, 0)
}

func createNetwork(t *testing.T, h *testnet.Host, name string) error {
	return testnet.Patiently(t.Context(), func() error {
		_, err := h.Docker(t.Context(), with("--ipam-opt", "meshsec.network="+name, name)...)
		return err
	})
}

// spare waits until a host knows of so many members of etcd, of which so many may be lost.
func spare(t *testing.T, h *testnet.Host, members, want int) {
	t.Helper()
	err := testnet.Until(t.Context(), 3*time.Minute, func() error {
		var st control.Status
		if err := h.MeshsecJSON(t.Context(), &st, "status"); err != nil {
			return err
		}
		if len(st.Etcd.Members) != members || st.Etcd.Spare != want || !st.Etcd.Reachable {
			return fmt.Errorf("%s: %+v", h.Name, st.Etcd)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
