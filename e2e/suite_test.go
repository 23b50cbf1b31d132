// Package e2e tests the whole through Docker's command line: real dockerds in test hosts, the managed plugin in each, and
// every frame of the underlay watched for leaks.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/internal/testnet/leak"
	"github.com/meshsec/meshsec/link"
)

const (
	mesh = "mesh" // the Docker network that every host of the shared cluster has

	// patience is for things that take a moment: a first handshake, a route's arrival, a repair.
	patience = time.Minute
	// cleanup bounds what is taken down after a test.
	cleanup = time.Minute
)

// create is the command that the README gives, without the network's name.
var create = []string{"network", "create", "-d", "meshsec", "--ipam-driver", "meshsec"}

// suite is a cluster with the plugin, watched.
type suite struct {
	*testnet.Cluster
	watch *leak.Watch
}

// The cluster that most tests share: three hosts, joined, each with the network mesh.
var (
	sharedOnce  sync.Once
	sharedSuite *suite
	errShared   error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if sharedSuite != nil {
		if err := sharedSuite.end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// shared gives the test the shared cluster and holds the test to its leak harness.
func shared(t *testing.T) *suite {
	t.Helper()
	s := unwatched(t)
	s.hold(t)
	return s
}

// unwatched gives the test the shared cluster; what leaks in it does not fail the test.
func unwatched(t *testing.T) *suite {
	t.Helper()
	needRoot(t)
	sharedOnce.Do(func() {
		limit := 3 * time.Minute
		if testnet.InLab() {
			limit *= 4
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if sharedSuite, errShared = newSuite(ctx, testnet.Options{Hosts: 3, Docker: true, ESP: slices.Contains(planes, "esp")}); errShared == nil {
			errShared = sharedSuite.joinAll(ctx)
		}
	})
	if errShared != nil {
		if sharedSuite != nil {
			sharedSuite.dump(t)
		}
		t.Fatal(errShared)
	}
	return sharedSuite
}

// own gives the test a cluster of its own, with dockerds but without plugins.
func own(t *testing.T, hosts int) *suite {
	t.Helper()
	return special(t, testnet.Options{Hosts: hosts, Docker: true})
}

// special is own with more to say about the underlay.
func special(t *testing.T, o testnet.Options) *suite {
	t.Helper()
	needRoot(t)
	s, err := newSuite(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
	s.hold(t)
	return s
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	if testing.Short() {
		t.Skip("short: starts dockerds")
	}
}

var build = sync.OnceValue(func() error {
	return errors.Join(testnet.Setup(context.Background()), testnet.Build(context.Background()))
})

func newSuite(ctx context.Context, o testnet.Options) (*suite, error) {
	if err := build(); err != nil {
		return nil, err
	}
	c, err := testnet.New(ctx, o)
	if err != nil {
		return nil, err
	}
	w, err := c.Watch()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &suite{Cluster: c, watch: w}, nil
}

func (s *suite) end() error { return errors.Join(s.watch.Close(), s.Close()) }

// hold fails the test at its end if anything leaked meanwhile, and shows logs when it failed.
func (s *suite) hold(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			s.dump(t)
		}
	})
	s.watch.Check(t)
}

func (s *suite) dump(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	for _, h := range s.Hosts {
		status, _ := h.Meshsec(ctx, "status")
		peers, _ := h.Meshsec(ctx, "peers")
		t.Logf("--- %s\n%s\n%s\n%s", h.Name, status, peers, h.DockerdLog(25))
	}
}

// joinAll installs the plugin everywhere with the settings and those of MESHSEC_E2E_DATAPLANE, host 1 as the founder, and makes the network.
func (s *suite) joinAll(ctx context.Context, settings ...string) error {
	founder := s.Hosts[0]
	if err := founder.InstallPlugin(ctx, append(planeSettings(founder), settings...)...); err != nil {
		return err
	}
	var group errgroup.Group
	for _, h := range s.Hosts[1:] {
		group.Go(func() error { return s.join(ctx, h, settings...) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, h := range s.Hosts {
		group.Go(func() error {
			// Before 29 Docker takes --ip only where the subnet was given, with any driver.
			if err := createMesh(ctx, h, "--subnet", "10.42.0.0/16"); err != nil {
				return err
			}
			return bridged(ctx, h)
		})
	}
	return group.Wait()
}

// bridged waits for the network's bridge, which the agent makes after its answer to Docker.
func bridged(ctx context.Context, h *testnet.Host) error {
	return testnet.Until(ctx, patience, func() error {
		_, err := h.RunRouter(ctx, "ip", "link", "show", "dev", link.BridgeName("default"))
		return err
	})
}

// join installs the plugin on a further host with a token of the first.
func (s *suite) join(ctx context.Context, h *testnet.Host, settings ...string) error {
	token, err := s.Hosts[0].Token(ctx)
	if err != nil {
		return err
	}
	return h.InstallPlugin(ctx, slices.Concat(planeSettings(h), settings, []string{"JOIN=" + token})...)
}

// createMesh makes the network with the README's command, and flags. On a slow machine an agent may take longer to start than a
// call of dockerd's waits for it.
func createMesh(ctx context.Context, h *testnet.Host, flags ...string) error {
	return testnet.Until(ctx, patience, func() error {
		err := testnet.Patiently(ctx, func() error {
			_, err := h.Docker(ctx, with(append(flags, mesh)...)...)
			return err
		})
		if err == nil || strings.Contains(err.Error(), "meshsec is starting") {
			return err
		}
		return testnet.Final(err)
	})
}

// with is the README's command to create a network, with more words.
func with(words ...string) []string { return append(slices.Clip(create), words...) }
