package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/link"
)

// propagation makes endpoints on one of several agents without a dockerd, and times their routes on all the others.
func propagation(ctx context.Context, hosts, endpoints int) error {
	c, err := testnet.New(ctx, testnet.Options{Hosts: hosts})
	if err != nil {
		return err
	}
	defer c.Close()
	var agents []*testnet.Process
	token := ""
	for i, h := range c.Hosts {
		settings := []string{"ADVERTISE=" + h.Addr.String()}
		if i > 0 {
			if token, err = c.Hosts[0].Token(ctx); err != nil {
				return err
			}
			settings = append(settings, "JOIN="+token)
		}
		a, err := h.StartAgent(settings...)
		if err != nil {
			return err
		}
		agents = append(agents, a)
	}
	arrivals := make(chan arrival, hosts)
	var creator *engine
	for i, h := range c.Hosts {
		e := newEngine(h)
		if err := e.createNetwork(ctx); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", h.Name, err), errors.New(agents[i].Output()))
		}
		if i == 1 {
			creator = e
			continue
		}
		if err := watchRoutes(ctx, h, arrivals); err != nil {
			return err
		}
	}
	var took []time.Duration
	for i := range endpoints {
		addr, err := creator.createEndpoint(ctx, i)
		if err != nil {
			return err
		}
		start := time.Now()
		for seen := 0; seen < hosts-1; {
			select {
			case a := <-arrivals:
				if a.addr == addr {
					took = append(took, max(a.at.Sub(start), 0))
					seen++
				}
			case <-time.After(10 * time.Second):
				return fmt.Errorf("%s is routed on %d of %d hosts after 10 s", addr, seen, hosts-1)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	founder, other := "", uint64(0)
	for i, h := range c.Hosts {
		rss, err := memory(ctx, h)
		if err != nil {
			return err
		}
		if i == 0 {
			founder = fmt.Sprintf("%.1f MiB", float64(rss)/1024)
		} else {
			other = max(other, rss)
		}
	}
	fmt.Printf("| %d | %d | %s | %s | %s | %s | %.1f MiB |\n", hosts, endpoints, ms(quantile(took, 0.5)), ms(quantile(took, 0.99)), ms(quantile(took, 1)),
		founder, float64(other)/1024)
	return nil
}

// memory is the resident set of a host's agent, in KiB.
func memory(ctx context.Context, h *testnet.Host) (uint64, error) {
	out, err := h.Run(ctx, "sh", "-c", `for p in /proc/[0-9]*; do case "$(tr '\0' ' ' <$p/cmdline 2>/dev/null)" in *"meshsec agent"*) grep VmRSS $p/status;; esac; done`)
	if err != nil {
		return 0, err
	}
	var most uint64
	for line := range strings.Lines(out) {
		var kib uint64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			most = max(most, kib)
		}
	}
	return most, nil
}

type arrival struct {
	addr netip.Addr
	at   time.Time
}

// watchRoutes tells of every route of ours that appears in a host's router namespace.
func watchRoutes(ctx context.Context, h *testnet.Host, out chan<- arrival) error {
	ns, err := netns.GetFromPath(fmt.Sprintf("/proc/%d/root/run/meshsec/router", h.Pid()))
	if err != nil {
		return err
	}
	updates := make(chan netlink.RouteUpdate, 64)
	if err := netlink.RouteSubscribeAt(ns, updates, ctx.Done()); err != nil {
		return err
	}
	go func() {
		defer ns.Close()
		for u := range updates {
			if u.Protocol != link.RouteProtocol || u.Dst == nil {
				continue
			}
			if addr, ok := netip.AddrFromSlice(u.Dst.IP); ok {
				out <- arrival{addr.Unmap(), time.Now()}
			}
		}
	}()
	return nil
}

// engine calls a host's plugin as its dockerd would.
type engine struct {
	http    *http.Client
	pool    string
	network string
}

func newEngine(h *testnet.Host) *engine {
	socket := fmt.Sprintf("/proc/%d/root/run/docker/plugins/meshsec.sock", h.Pid())
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return &engine{http: &http.Client{Transport: &http.Transport{DialContext: dial}}, network: strings.Repeat("0123456789abcdef", 4)}
}

// createNetwork is `docker network create`; it waits for an agent that is still starting.
func (e *engine) createNetwork(ctx context.Context) error {
	return testnet.Until(ctx, time.Minute, func() error {
		var pool struct{ PoolID, Pool string }
		if err := e.call(ctx, "IpamDriver.RequestPool", map[string]any{"AddressSpace": "MeshsecLocal"}, &pool); err != nil {
			return err
		}
		e.pool = pool.PoolID
		var gateway struct{ Address string }
		if err := e.call(ctx, "IpamDriver.RequestAddress", map[string]any{"PoolID": e.pool,
			"Options": map[string]string{"RequestAddressType": "com.docker.network.gateway"}}, &gateway); err != nil {
			return err
		}
		return e.call(ctx, "NetworkDriver.CreateNetwork", map[string]any{"NetworkID": e.network, "IPv4Data": []map[string]any{
			{"AddressSpace": "MeshsecLocal", "Pool": pool.Pool, "Gateway": gateway.Address}}}, nil)
	})
}

// createEndpoint returns as CreateEndpoint does.
func (e *engine) createEndpoint(ctx context.Context, i int) (netip.Addr, error) {
	var got struct{ Address string }
	if err := e.call(ctx, "IpamDriver.RequestAddress", map[string]any{"PoolID": e.pool}, &got); err != nil {
		return netip.Addr{}, err
	}
	prefix, err := netip.ParsePrefix(got.Address)
	if err != nil {
		return netip.Addr{}, err
	}
	return prefix.Addr(), e.call(ctx, "NetworkDriver.CreateEndpoint", map[string]any{"NetworkID": e.network,
		"EndpointID": fmt.Sprintf("%064x", i+1), "Interface": map[string]string{"Address": got.Address}}, nil)
}

func (e *engine) call(ctx context.Context, method string, req, reply any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := e.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", method, text)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(text, reply)
}
