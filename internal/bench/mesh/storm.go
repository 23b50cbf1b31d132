package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// stormHosts are hosts whose agents are all started at the same moment.
type stormHosts struct {
	*testnet.Cluster
	settings   [][]string
	controls   []*control.Client
	agents     []*testnet.Process
	engines    []*testnet.Engine
	containers []*testnet.Container
	logged     []int // of each agent's log, how much was looked at
}

// storm measures what it costs when all hosts of an environment join at once, and when all are started again at once after a
// power cut, the one with etcd among them.
func storm(ctx context.Context, hosts int) (err error) {
	c, err := testnet.New(ctx, testnet.Options{Hosts: hosts})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	s := &stormHosts{Cluster: c, agents: make([]*testnet.Process, hosts), engines: make([]*testnet.Engine, hosts), containers: make([]*testnet.Container, hosts),
		logged: make([]int, hosts)}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	before, err := s.etcdFigures(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("### %d hosts start at the same moment\n\n%s", hosts, stormHead)
	joined, err := s.start(ctx, 1)
	if err != nil {
		return err
	}
	if err := s.figures(ctx, "all join", joined, before); err != nil {
		return err
	}
	if err := s.contain(ctx); err != nil {
		return err
	}
	if err := s.ping(ctx); err != nil {
		return fmt.Errorf("after all have joined: %w", err)
	}
	if err := s.kill(ctx); err != nil {
		return err
	}
	restarted, err := s.start(ctx, 0)
	if err != nil {
		return err
	}
	if err := s.figures(ctx, "all killed with -9 and started", restarted, etcdFigures{}); err != nil {
		return err
	}
	if err := s.ping(ctx); err != nil {
		return fmt.Errorf("after all were started again: %w", err)
	}
	fmt.Printf("\nAfter both, every container reached those of the next %d hosts.\n", min(pinged, hosts-1))
	return nil
}

// prepare starts the first agent, and gives all others what they join with.
func (s *stormHosts) prepare(ctx context.Context) error {
	if err := s.meet(ctx); err != nil {
		return err
	}
	s.settings = make([][]string, len(s.Hosts))
	for i, h := range s.Hosts {
		s.settings[i] = []string{"ADVERTISE=" + h.Addr.String(), fmt.Sprintf("HOST_NAME=h%d", i+1)}
		s.controls = append(s.controls, control.NewClient(h.Path("/run/meshsec/meshsec.sock")))
		s.engines[i] = testnet.NewEngine(h)
	}
	var err error
	if s.agents[0], err = s.Hosts[0].StartAgent(s.settings[0]...); err != nil {
		return err
	}
	for i := range s.Hosts[1:] {
		token, err := s.Hosts[0].Token(ctx)
		if err != nil {
			return err
		}
		s.settings[i+1] = append(s.settings[i+1], "JOIN="+token)
	}
	return nil
}

// meet gives all hosts each other's Ethernet addresses, because the kernel's neighbour table is one for all namespaces and too small
// for so many; permanent entries take no place in it. It counts what the hosts say to each other, too.
func (s *stormHosts) meet(ctx context.Context) error {
	var script strings.Builder
	for _, h := range s.Hosts {
		mac, err := h.Run(ctx, "cat", "/sys/class/net/eth0/address")
		if err != nil {
			return err
		}
		fmt.Fprintf(&script, "ip neigh replace %s lladdr %s dev eth0 nud permanent\n", h.Addr, mac)
	}
	script.WriteString(countHandshakes)
	for _, h := range s.Hosts {
		if _, err := h.Run(ctx, "sh", "-c", script.String()); err != nil {
			return err
		}
	}
	return nil
}

// start starts the agents from the given one on at once, and returns how long each host took until it had tunnels with all others, and
// routes through them.
func (s *stormHosts) start(ctx context.Context, first int) (took []time.Duration, err error) {
	began := time.Now()
	for i := first; i < len(s.Hosts); i++ {
		if s.agents[i], err = s.Hosts[i].StartAgent(s.settings[i]...); err != nil {
			return nil, err
		}
	}
	took = make([]time.Duration, len(s.Hosts))
	var group errgroup.Group
	for i := range s.Hosts {
		group.Go(func() error {
			for {
				missing := s.missing(ctx, i)
				took[i] = time.Since(began)
				if missing == nil {
					return nil
				}
				if took[i] > stormLimit {
					return fmt.Errorf("%s after %s: %w\n%s", s.Hosts[i].Name, stormLimit, missing, lastLines(s.agents[i].Output()))
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(500 * time.Millisecond): // to ask costs what is measured
				}
			}
		})
	}
	return took, group.Wait()
}

// stormLimit bounds the time until all is well, on a machine that has all hosts' work to do with two processors.
const stormLimit = 3 * time.Minute

// missing says what a host does not have yet.
func (s *stormHosts) missing(ctx context.Context, i int) error {
	var status control.Status
	if err := s.controls[i].Get(ctx, "status", &status); err != nil {
		return err
	}
	if n := len(s.Hosts) - 1; status.PeersUp < n || status.FromDisk || status.Applied == 0 {
		return fmt.Errorf("%d of %d peers up, %v", status.PeersUp, n, status.Problems)
	}
	var peers []control.Peer
	if err := s.controls[i].Get(ctx, "peers", &peers); err != nil {
		return err
	}
	for _, p := range peers {
		if p.State != "up" || s.containers[i] != nil && p.MTU == 0 {
			return fmt.Errorf("%s is %s, its routes' MTU %d", p.Name, p.State, p.MTU)
		}
	}
	return nil
}

// contain starts a container on each host.
func (s *stormHosts) contain(ctx context.Context) error {
	return s.each(func(i int) (err error) {
		if err = s.engines[i].CreateNetwork(ctx); err == nil {
			s.containers[i], err = s.engines[i].StartContainer(ctx, 0)
		}
		return err
	})
}

// pinged is how many hosts' containers each container asks: to ask all would fill the neighbour table that the namespaces share.
const pinged = 8

// ping returns when each container was answered by those of the next hosts, and else who was not.
func (s *stormHosts) ping(ctx context.Context) error {
	return s.each(func(i int) error {
		addrs := make([]string, min(pinged, len(s.Hosts)-1))
		for k := range addrs {
			addrs[k] = s.containers[(i+k+1)%len(s.Hosts)].Addr.String()
		}
		script := fmt.Sprintf("for a in %s; do ping -q -c1 -W2 $a >/dev/null || echo $a; done", strings.Join(addrs, " "))
		return testnet.Until(ctx, 30*time.Second, func() error {
			silent, err := s.Hosts[i].Run(ctx, "ip", "netns", "exec", s.containers[i].Name, "sh", "-c", script)
			if err == nil && silent != "" {
				err = fmt.Errorf("%s: no answer from %s", s.Hosts[i].Name, silent)
			}
			return err
		})
	})
}

// kill ends all agents as a power cut does, and leaves what they have in the kernel.
func (s *stormHosts) kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return s.each(func(i int) error { return s.agents[i].Stop(ctx, unix.SIGKILL) })
}

// each does something on all hosts, on a few at a time.
func (s *stormHosts) each(do func(i int) error) error {
	var group errgroup.Group
	group.SetLimit(8)
	for i := range s.Hosts {
		group.Go(func() error { return do(i) })
	}
	return group.Wait()
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(len(lines)-10, 0):], "\n")
}
