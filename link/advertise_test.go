package link

import (
	"fmt"
	"strings"
	"testing"
)

func TestDefaultAddr(t *testing.T) {
	w := newWorld(t)
	ok(t, inNamespace(w.host, func() error {
		if _, _, _, err := DefaultAddr(); err == nil || !strings.Contains(err.Error(), "ADVERTISE") {
			t.Errorf("without a default route: %v, want the setting's name", err)
		}
		return nil
	}))
	w.ethernet("eth0", "192.0.2.1/24", "192.0.2.254", 1400)
	w.ethernet("eth1", "198.51.100.1/24", "", 1500)
	ok(t, inNamespace(w.host, func() error {
		a, dev, mtu, err := DefaultAddr()
		if a != addr("192.0.2.1") || dev != "eth0" || mtu != 1400 {
			t.Errorf("got %s, %s, %d", a, dev, mtu)
		}
		return err
	}))
}

func TestResolveAdvertise(t *testing.T) {
	w := newWorld(t)
	w.ethernet("eth0", "192.0.2.1/24", "192.0.2.254", 1400)
	w.ethernet("eth1", "198.51.100.1/24", "", 1500)
	w.ethernet("eth2", "2001:db8::1/64", "", 9000)
	h := w.handle(w.host)
	attrs := must(h.LinkByName("eth1p"))(t) // a link without an address
	for setting, want := range map[string]string{
		"":                          "[192.0.2.1] [] 1400",
		"192.0.2.1":                 "[192.0.2.1] [] 1400",
		"198.51.100.1":              "[198.51.100.1] [] 1500",
		"203.0.113.7:4501":          "[192.0.2.1] [203.0.113.7:4501] 1400", // behind a NAT
		"eth1,203.0.113.7:4501":     "[198.51.100.1] [203.0.113.7:4501] 1500",
		"[2001:db8::7]:1,eth2":      "[2001:db8::1] [[2001:db8::7]:1] 9000",
		"eth1":                      "[198.51.100.1] [] 1500",
		"eth2":                      "[2001:db8::1] [] 9000",
		"198.51.100.0/24":           "[198.51.100.1] [] 1500",
		" eth1 , 192.0.2.0/24,eth0": "[198.51.100.1 192.0.2.1] [] 1400",
	} {
		ok(t, inNamespace(w.host, func() error {
			a, err := ResolveAdvertise(setting)
			if got := fmt.Sprint(a.Addrs, a.Forwards, a.MTU); got != want {
				t.Errorf("%q: %s, want %s", setting, got, want)
			}
			return err
		}))
	}
	for setting, part := range map[string]string{
		"eth0,,eth1":        "empty item",
		"127.0.0.1":         "other hosts",
		"0.0.0.0":           "other hosts",
		"fe80::1%eth0":      "other hosts",
		"203.0.113.7":       "203.0.113.7:4500",
		"203.0.113.7:0":     "not a port",
		"203.0.113.7:66000": "not a port",
		"127.0.0.1:4500":    "other hosts",
		"10.0.0.0/8":        "no address of this host",
		"10.0.0.0/99":       "not a CIDR",
		attrs.Attrs().Name:  "no address",
		"not a name":        "nor a name", // which no resolver is asked about
	} {
		ok(t, inNamespace(w.host, func() error {
			_, err := ResolveAdvertise(setting)
			if err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), "ADVERTISE") {
				t.Errorf("%q: %v, want %q", setting, err, part)
			}
			return nil
		}))
	}
}

func TestLookupName(t *testing.T) {
	// The resolver knows this one without asking (RFC 6761), and it is good for nothing here.
	if _, err := lookupName("localhost"); err == nil || !strings.Contains(err.Error(), "other hosts") {
		t.Errorf("got %v", err)
	}
}
