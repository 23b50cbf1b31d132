package ipsec

import (
	"net/netip"
	"testing"
	"time"
)

func TestConfigEqual(t *testing.T) {
	config := func() Config {
		out := SA{SPI: 300, Cipher: AES256GCM}
		return Config{Router: netip.MustParseAddr("100.127.0.1"), MTU: 1438, Peers: []Peer{{
			Name: "b", Remote: netip.MustParseAddrPort("192.0.2.2:4500"), Encap: EncapUDP, Router: netip.MustParseAddr("100.127.0.2"),
			Prefixes: []netip.Prefix{netip.MustParsePrefix("10.42.1.1/32")}, In: []SA{{SPI: 301}, {SPI: 302}}, Out: &out,
		}}}
	}
	for _, c := range []struct {
		what       string
		change     func(*Config)
		others, sa bool // what is still equal
	}{
		{"nothing", func(*Config) {}, true, true},
		{"router", func(c *Config) { c.Router = c.Peers[0].Router }, false, true},
		{"MTU", func(c *Config) { c.MTU-- }, false, true},
		{"name", func(c *Config) { c.Peers[0].Name = "c" }, false, true},
		{"remote", func(c *Config) { c.Peers[0].Remote = netip.AddrPort{} }, false, true},
		{"encapsulation", func(c *Config) { c.Peers[0].Encap = EncapESP }, false, true},
		{"peer's router", func(c *Config) { c.Peers[0].Router = c.Router }, false, true},
		{"peer's MTU", func(c *Config) { c.Peers[0].MTU = 1400 }, false, true},
		{"prefixes", func(c *Config) { c.Peers[0].Prefixes = nil }, false, true},
		{"a peer less", func(c *Config) { c.Peers = nil }, false, false},
		{"inbound", func(c *Config) { c.Peers[0].In = c.Peers[0].In[:1] }, true, false},
		{"age", func(c *Config) { c.Peers[0].Out.Created = time.Now() }, true, true},
		{"order of inbound", func(c *Config) { in := c.Peers[0].In; in[0], in[1] = in[1], in[0] }, true, false},
		{"inbound key", func(c *Config) { c.Peers[0].In[0].Key.Bytes[35]++ }, true, false},
		{"outbound", func(c *Config) { c.Peers[0].Out.SPI++ }, true, false},
		{"no outbound", func(c *Config) { c.Peers[0].Out = nil }, true, false},
	} {
		a, b := config(), config()
		c.change(&b)
		for _, pair := range [][2]Config{{a, b}, {b, a}} {
			if pair[0].EqualButSAs(pair[1]) != c.others || pair[0].EqualSAs(pair[1]) != c.sa {
				t.Errorf("%s: equal but for SAs %v, SAs equal %v", c.what, pair[0].EqualButSAs(pair[1]), pair[0].EqualSAs(pair[1]))
			}
		}
	}
}
