package testnet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Engine calls a host's plugin by its socket as the host's dockerd would, on hosts that have none. It has one network, the
// environment's `default`. Its methods may be called concurrently.
type Engine struct {
	host    *Host
	http    *http.Client
	pool    string
	network string
}

// NewEngine gives the engine of a host whose agent runs, or will.
func NewEngine(h *Host) *Engine {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.Path("/run/docker/plugins/meshsec.sock"))
	}
	// A connection that is kept would be one to an agent that is gone.
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	return &Engine{host: h, http: client, network: strings.Repeat("0123456789abcdef", 4)}
}

// CreateNetwork is `docker network create`; it waits for an agent that is still starting.
func (e *Engine) CreateNetwork(ctx context.Context) error {
	return Until(ctx, time.Minute, func() error {
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

// Claim is the first call of `docker run --ip`: an answer without an error says that the address is this host's.
func (e *Engine) Claim(ctx context.Context, addr netip.Addr) error {
	return e.call(ctx, "IpamDriver.RequestAddress", map[string]any{"PoolID": e.pool, "Address": addr.String()}, nil)
}

// CreateEndpoint makes endpoint number i and returns as the plugin does, with its address in its pool.
func (e *Engine) CreateEndpoint(ctx context.Context, i int) (netip.Prefix, error) {
	var got struct{ Address string }
	if err := e.call(ctx, "IpamDriver.RequestAddress", map[string]any{"PoolID": e.pool,
		"Options": map[string]string{"com.docker.network.endpoint.name": containerName(i)}}, &got); err != nil {
		return netip.Prefix{}, err
	}
	prefix, err := netip.ParsePrefix(got.Address)
	if err != nil {
		return netip.Prefix{}, err
	}
	return prefix, e.call(ctx, "NetworkDriver.CreateEndpoint", map[string]any{"NetworkID": e.network,
		"EndpointID": endpointID(i), "Interface": map[string]string{"Address": got.Address}}, nil)
}

// StartContainer makes a network namespace with endpoint number i in it, as Docker does when a container starts. Nothing runs in it.
// A container that is returned together with an error has to be stopped.
func (e *Engine) StartContainer(ctx context.Context, i int) (*Container, error) {
	addr, err := e.CreateEndpoint(ctx, i)
	c := &Container{Host: e.host, Name: containerName(i), Addr: addr.Addr()}
	if err != nil {
		if !addr.IsValid() {
			return nil, err
		}
		return c, err
	}
	c.netns = "/run/netns/" + c.Name
	var joined struct {
		InterfaceName struct{ SrcName string }
		StaticRoutes  []struct{ Destination string } // all of them on-link
	}
	if err := e.call(ctx, "NetworkDriver.Join", map[string]any{"NetworkID": e.network, "EndpointID": endpointID(i), "SandboxKey": c.netns},
		&joined); err != nil {
		return c, err
	}
	script := `ip netns add %s && ip link set %s netns %[1]s name eth0 && ip -n %[1]s link set lo up &&
		ip -n %[1]s addr add %[3]s dev eth0 && ip -n %[1]s link set eth0 up && ip netns exec %[1]s cat /sys/class/net/eth0/address`
	for _, r := range joined.StaticRoutes {
		script += " && ip -n %[1]s route add " + r.Destination + " dev eth0 scope link"
	}
	c.MAC, err = e.host.Run(ctx, "sh", "-c", fmt.Sprintf(script, c.Name, joined.InterfaceName.SrcName, addr))
	return c, err
}

// StopContainer ends endpoint number i and its network namespace, as Docker does when a container stops. It may be called again after
// an error.
func (e *Engine) StopContainer(ctx context.Context, c *Container, i int) error {
	endpoint := map[string]any{"NetworkID": e.network, "EndpointID": endpointID(i)}
	if err := e.call(ctx, "NetworkDriver.Leave", endpoint, nil); err != nil {
		return err
	}
	if _, err := e.host.Run(ctx, "sh", "-c", fmt.Sprintf("[ ! -e /run/netns/%s ] || ip netns del %[1]s", c.Name)); err != nil {
		return err
	}
	if err := e.call(ctx, "NetworkDriver.DeleteEndpoint", endpoint, nil); err != nil {
		return err
	}
	return e.call(ctx, "IpamDriver.ReleaseAddress", map[string]any{"PoolID": e.pool, "Address": c.Addr.String()}, nil)
}

// containerName is what endpoint number i is called, as engines tell since 29.
func containerName(i int) string { return fmt.Sprintf("c%d", i) }

// endpointID is the ID of endpoint number i, on its host. Links are named after how it begins.
func endpointID(i int) string { return fmt.Sprintf("%08x%056x", i+1, 0) }

func (e *Engine) call(ctx context.Context, method string, req, reply any) error {
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
		return fmt.Errorf("%s: %s: %s", e.host.Name, method, text)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(text, reply)
}
