package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// sysctl is one setting; a path below /proc/sys. An optional one may be missing from the kernel.
type sysctl struct {
	path, value string
	optional    bool
}

// setBaseSysctls sets what holds for the whole namespace. Runs inside it.
func (r *Router) setBaseSysctls() error {
	const v4, v6 = "net/ipv4/conf/", "net/ipv6/conf/"
	return r.sysctls(
		// First: changing it resets others to the defaults of a router (RFC 1812).
		sysctl{path: "net/ipv4/ip_forward", value: "1"},
		// A packet is taken only from the link that its source is routed to. For a tunnel that means: from the peer that
		// the source belongs to. The kernel uses the larger of all and the link's own.
		sysctl{path: v4 + "all/rp_filter", value: "1"},
		sysctl{path: v4 + "default/rp_filter", value: "1"},
		// Containers must not learn that a neighbour is behind the same bridge: the pool is on-link to them anyway.
		sysctl{path: v4 + "all/send_redirects", value: "0"},
		sysctl{path: v4 + "default/send_redirects", value: "0"},
		sysctl{path: v4 + "all/accept_redirects", value: "0"},
		sysctl{path: v4 + "default/accept_redirects", value: "0"},
		// A packet must not choose its way; a new namespace takes this over from the host's.
		sysctl{path: v4 + "all/accept_source_route", value: "0"},
		// ARP answers for own addresses only on the link that has them, so not for the router address.
		sysctl{path: v4 + "all/arp_ignore", value: "1"},
		// The mesh is IPv4; without this every bridge would speak IPv6 neighbour discovery into it.
		sysctl{path: v6 + "all/disable_ipv6", value: "1", optional: true},
		sysctl{path: v6 + "default/disable_ipv6", value: "1", optional: true},
	)
}

// setBridgeSysctls sets what a bridge needs, and what can turn up late: br_netfilter is loaded by Docker, perhaps after
// us, and each namespace starts with it switched on. Runs inside the namespace.
func (r *Router) setBridgeSysctls(bridge string) error {
	conf, neigh := "net/ipv4/conf/"+bridge+"/", "net/ipv4/neigh/"+bridge+"/"
	return r.sysctls(
		sysctl{path: conf + "proxy_arp", value: "1"},
		// Else the kernel waits up to 0.8 s, at random, before it answers for somebody else.
		sysctl{path: neigh + "proxy_delay", value: "0"},
		// An address may move to another MAC at once; the default is to ignore the second news within a second.
		sysctl{path: neigh + "locktime", value: "0"},
		sysctl{path: conf + "rp_filter", value: "1"},
		sysctl{path: conf + "send_redirects", value: "0"},
		sysctl{path: "net/bridge/bridge-nf-call-iptables", value: "0", optional: true},
		sysctl{path: "net/bridge/bridge-nf-call-arptables", value: "0", optional: true},
	)
}

// sysctls sets those that differ.
func (r *Router) sysctls(want ...sysctl) error {
	var errs []error
	for _, s := range want {
		errs = append(errs, r.sysctl(s))
	}
	return errors.Join(errs...)
}

func (r *Router) sysctl(s sysctl) error {
	file := filepath.Join(r.procSys, s.path)
	have, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && s.optional {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", s.path, err)
	}
	if strings.TrimSpace(string(have)) == s.value {
		return nil
	}
	err = os.WriteFile(file, []byte(s.value), 0)
	if errors.Is(err, unix.EROFS) {
		return fmt.Errorf("sysctl %s: %s is mounted read-only: mount the host's /proc/sys/net writable", s.path, r.procSys)
	}
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", s.path, err)
	}
	return nil
}
