package link

import (
	"strings"
	"testing"
)

func TestBridgeName(t *testing.T) {
	for network, want := range map[string]string{
		"default":        "br-default",
		"a":              "br-a",
		"exactly12abc":   "br-exactly12abc",
		"thirteenchars":  "br-26d24a8d0c",
		"with.dot":       "br-",
		"sla/sh":         "br-",
		"":               "br-",
		"ümlaut":         "br-",
		"space d":        "br-",
		"Upper_lower-09": "br-",
	} {
		got := BridgeName(network)
		if strings.HasSuffix(want, "-") || network == "thirteenchars" {
			if len(got) != 13 || got == BridgeName(network+"x") {
				t.Errorf("%q: %q, want a digest", network, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%q: %q, want %q", network, got, want)
		}
	}
}

func TestEndpointLink(t *testing.T) {
	c, r := EndpointLink("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	if c != "ms0123456789" || r != "mv0123456789" {
		t.Errorf("got %s, %s", c, r)
	}
	if c, r := EndpointLink("01"); c != "ms01" || r != "mv01" {
		t.Errorf("short: %s, %s", c, r)
	}
}

func TestMACOf(t *testing.T) {
	if got := MACOf(addr("10.42.71.9")).String(); got != "02:6d:0a:2a:47:09" {
		t.Errorf("got %s", got)
	}
}
