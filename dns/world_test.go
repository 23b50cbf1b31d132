package dns

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/store"
)

const (
	self = "0000000000000000"
	far  = "0000000000000001"
)

// me is the container that asks, on networks default and Shop; other one on Shop only, shut on one that is internal.
var me, other, shut = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.4")

// environment has two hosts, three networks and some containers.
func environment(lost ...string) *directory.Directory {
	pool := netip.MustParsePrefix
	snap := &store.Snapshot{Revision: 42, Endpoints: map[string]map[store.EndpointKey]*store.Endpoint{}, Blocks: map[store.BlockKey]store.Claim{},
		Hosts: map[string]store.Host{
			self: {ID: self, Name: "One", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
			far:  {ID: far, Name: "two", Version: "v1", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")}},
		},
		Networks: map[string]store.Network{
			"default": {Name: "default", Pool: pool("10.42.0.0/16")}, "Shop": {Name: "Shop", Pool: pool("10.43.0.0/16")}, "secret": {Name: "secret", Pool: pool("10.44.16.0/20")},
		}}
	add := func(network, addr, host string, e store.Endpoint) {
		e.ID, e.Host, e.Network, e.Addr = network+addr, host, network, netip.MustParseAddr(addr)
		p, _ := e.Addr.Prefix(26)
		snap.Blocks[store.BlockKey{Network: network, Prefix: p}] = store.Claim{Host: host}
		if snap.Endpoints[host] == nil {
			snap.Endpoints[host] = map[store.EndpointKey]*store.Endpoint{}
		}
		snap.Endpoints[host][e.Key()] = &e
	}
	web := store.Endpoint{Name: "shop-Web-1", Aliases: []string{"web", "api.test"}, Service: "web", Project: "shop",
		Labels: map[string]string{SRVLabel + "http": "8080", SRVLabel + "dns": "53/udp", SRVLabel + "bad": "x"},
		Ports:  []store.Port{{Proto: "tcp", Port: 80, HostPort: 8000}}}
	add("default", "10.42.64.2", far, web)
	web.Name = "shop-Web-2"
	add("default", "10.42.64.3", far, web)
	add("Shop", "10.43.64.2", far, store.Endpoint{Name: "db"})
	add("secret", "10.44.16.2", far, store.Endpoint{Name: "vault", Aliases: []string{"web"}})
	local := &store.Local{Endpoints: map[string]store.LocalEndpoint{}, Networks: map[string]store.LocalNetwork{"default": {}, "Shop": {}, "inner": {Internal: true}}}
	for id, e := range map[string]store.LocalEndpoint{
		"a": {Endpoint: store.Endpoint{ID: "a", Name: "me", Network: "default", Addr: me, Host: self}, SandboxKey: "me"},
		"b": {Endpoint: store.Endpoint{ID: "b", Name: "me", Network: "Shop", Addr: netip.MustParseAddr("10.43.0.9"), Host: self}, SandboxKey: "me"},
		"c": {Endpoint: store.Endpoint{ID: "c", Name: "other", Network: "Shop", Addr: other, Host: self}, SandboxKey: "other"},
		"d": {Endpoint: store.Endpoint{ID: "d", Name: "shut", Network: "inner", Addr: shut, Host: self}, SandboxKey: "shut"},
	} {
		e.DockerNetwork = e.Network
		local.Endpoints[id] = e
	}
	down := map[string]bool{}
	for _, h := range lost {
		down[h] = true
	}
	return directory.New(self).Next(snap, local, down)
}

func zone(lost ...string) Zone { return Zone{Domain: "meshsec.internal", Names: environment(lost...)} }

// asks gives the answer to a container; nil: it is for the host's resolvers.
func (z Zone) asks(from netip.Addr, name string, kind uint16) *dns.Msg {
	return z.Answer(new(dns.Msg).SetQuestion(dns.Fqdn(name), kind), z.Names.Asker(from))
}

// says is the answer in short: the code, or the records' data, sorted.
func says(r *dns.Msg) string {
	if r == nil {
		return "forward"
	}
	if len(r.Answer) == 0 {
		return dns.RcodeToString[r.Rcode]
	}
	var list []string
	for _, rr := range r.Answer {
		list = append(list, strings.ReplaceAll(strings.TrimPrefix(rr.String(), rr.Header().String()), `"`, ""))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// served is a Server on loopback, and where it listens.
func served(t testing.TB, o Options) (*Server, string) {
	t.Helper()
	if o.Domain == "" {
		o.Domain = "meshsec.internal"
	}
	if o.Board == nil {
		o.Board = directory.NewBoard(environment())
	}
	if o.Age == nil {
		o.Age = func() (age time.Duration, reached bool) { return 0, true }
	}
	if o.Resolvers == nil {
		o.Resolvers = func() []netip.AddrPort { return nil }
	}
	s := New(o)
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 53)})
	if err != nil {
		t.Fatal(err)
	}
	_ = udp.SetReadBuffer(4 << 20)
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, udp, tcp) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, udp.LocalAddr().String()
}
