package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

// example is the path of a file in examples. On each of the hosts the image that the examples use is the tests' own.
func example(t *testing.T, name string, hosts ...*testnet.Host) string {
	t.Helper()
	root, err := testnet.Root()
	if err != nil {
		t.Fatal(err)
	}
	const image = "busybox"
	for _, h := range hosts {
		docker(t, h, []string{"tag", testnet.Image, image})
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), cleanup)
			defer cancel()
			if _, err := h.Docker(ctx, "rmi", image); err != nil {
				t.Error(err)
			}
		})
	}
	return filepath.Join(root, "examples", name)
}

// project is a Compose file's project on one host.
type project struct {
	host *testnet.Host
	file string
	up   bool
}

// newProject takes the project down after the test, if it is up still.
func newProject(t *testing.T, h *testnet.Host, file string) *project {
	t.Helper()
	p := &project{host: h, file: file}
	t.Cleanup(func() {
		if p.up {
			p.run(context.Background(), t, "down", "-t", "0")
		}
	})
	return p
}

// run runs docker-compose on the host.
func (p *project) run(ctx context.Context, t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, cleanup)
	defer cancel()
	p.up = args[0] == "up"
	if _, err := p.host.Compose(ctx, append([]string{"-f", p.file}, args...)...); err != nil {
		t.Error(err)
	}
}

// exec runs a command in the container of one of the project's services.
func (p *project) exec(ctx context.Context, service string, args ...string) (string, error) {
	id, err := p.host.Docker(ctx, "ps", "-q", "--filter", "label=com.docker.compose.service="+service)
	if err != nil {
		return "", err
	}
	return p.host.Docker(ctx, append([]string{"exec", id}, args...)...)
}

// finds waits until one of the project's services reaches a name.
func (p *project) finds(t *testing.T, service, name string) {
	t.Helper()
	eventually(t, service+" pings "+name, func() error {
		_, err := p.exec(t.Context(), service, "ping", "-c1", "-W1", name)
		return err
	})
}

// TestComposeExternal: services of two hosts are in the network that the hosts had before, find each other by name, and leave
// the network and nothing else.
func TestComposeExternal(t *testing.T) {
	s := shared(t)
	file := example(t, "compose-external.yaml", s.Hosts[:2]...)
	settled(t, s)
	before := footprint(t, s)
	near, far := newProject(t, s.Hosts[0], file), newProject(t, s.Hosts[1], file)
	near.run(t.Context(), t, "up", "-d", "web")
	far.run(t.Context(), t, "up", "-d", "client")
	far.finds(t, "client", "web")
	near.finds(t, "web", "client")
	for _, p := range []*project{near, far} {
		p.run(t.Context(), t, "down", "-t", "0")
		docker(t, p.host, []string{"network", "inspect", mesh})
	}
	leftNothing(t, s, before)
}

// TestComposeOwn: a project makes its network on each host that it runs on, uses it, and removes it; with the last host's it is gone.
func TestComposeOwn(t *testing.T) {
	s := shared(t)
	file := example(t, "compose-own.yaml", s.Hosts[:2]...)
	settled(t, s)
	before := footprint(t, s)
	near, far := newProject(t, s.Hosts[0], file), newProject(t, s.Hosts[1], file)
	near.run(t.Context(), t, "up", "-d", "db")
	far.run(t.Context(), t, "up", "-d", "web")
	far.finds(t, "web", "store")
	if out, err := far.exec(t.Context(), "web", "ip", "link", "show", "eth0"); err != nil || !strings.Contains(out, "mtu 1300") {
		t.Errorf("driver_opts: %v: %s", err, out)
	}
	s.published(t, far.host)
	far.run(t.Context(), t, "up", "-d", "-t", "0", "--force-recreate", "web") // it finds its network as it wants it
	far.finds(t, "web", "store")

	const network, shop = "examples_shop", "10.60.0.0-24"
	near.run(t.Context(), t, "down", "-t", "0")
	refused(t, near.host, nil, "network", "inspect", network)
	if _, ok := environment(t, far.host, shop); !ok {
		t.Error("the other host's network went, too")
	}
	far.run(t.Context(), t, "down", "-t", "0")
	refused(t, far.host, nil, "network", "inspect", network)
	eventually(t, "the end of the network", func() error {
		if pool, ok := environment(t, near.host, shop); ok {
			return fmt.Errorf("it is there, with %v", pool)
		}
		return nil
	})
	leftNothing(t, s, before)
}

// published waits until the port that the examples publish answers from outside.
func (s *suite) published(t *testing.T, h *testnet.Host) {
	t.Helper()
	eventually(t, "port 8080 of "+h.Name, func() error {
		return s.Outside.Enter(func() error {
			c, err := net.DialTimeout("tcp", h.Addr.String()+":8080", time.Second)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				return err
			}
			if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
				return err
			}
			answer, err := io.ReadAll(c)
			if !strings.HasPrefix(string(answer), "HTTP/1.") { // it has no page to show, and says so
				return errors.Join(fmt.Errorf("answer %q", answer), err)
			}
			return nil
		})
	})
}
