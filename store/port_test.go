package store

import (
	"net/netip"
	"slices"
	"testing"
)

func TestPortsReadAsInDockerPs(t *testing.T) {
	for want, p := range map[string]Port{
		"80/tcp":                      {Proto: "tcp", Port: 80},
		"*:8080->80/tcp":              {Proto: "tcp", Port: 80, HostPort: 8080},
		"192.0.2.1:53->53/udp":        {Proto: "udp", Port: 53, HostPort: 53, HostIP: netip.MustParseAddr("192.0.2.1")},
		"[2001:db8::1]:2905->25/sctp": {Proto: "sctp", Port: 25, HostPort: 2905, HostIP: netip.MustParseAddr("2001:db8::1")},
	} {
		if got := p.String(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

func TestPortsHaveOneOrder(t *testing.T) {
	want := []Port{
		{Proto: "tcp", Port: 53}, {Proto: "udp", Port: 53}, {Proto: "tcp", Port: 80, HostPort: 80},
		{Proto: "tcp", Port: 80, HostPort: 8080}, {Proto: "tcp", Port: 80, HostPort: 80, HostIP: netip.MustParseAddr("192.0.2.1")},
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	if slices.SortFunc(got, Port.Compare); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
