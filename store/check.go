package store

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"unicode"
)

// maxForwards bounds Host.Forwards.
const maxForwards = 16

// maxValue is the size of the longest value that is read or written, in bytes.
const maxValue = 64 << 10

// decodeValue reads a fact and holds it against its key. What comes from etcd is not trusted: everything that later code
// relies on is checked here.
func decodeValue(k factKey, value []byte) (any, error) {
	if len(value) > maxValue {
		return nil, fmt.Errorf("the value has %d bytes, more than %d", len(value), maxValue)
	}
	switch k.kind {
	case kindHost:
		return decodeChecked(value, func(h *Host) error { return h.check(k) })
	case kindNetwork:
		return decodeChecked(value, func(n *Network) error { return errors.Join(sameName("name", n.Name, k.network), n.Check()) })
	case kindBlock, kindStatic, kindRouter:
		return decodeChecked(value, func(c *Claim) error { return errors.Join(checkVersion(c.V), CheckHostID(c.Host)) })
	case kindReleased:
		return decodeChecked(value, func(r *Release) error { return errors.Join(checkVersion(r.V), sameName("host", r.Host, k.host)) })
	case kindCert, kindServer:
		return decodeChecked(value, func(r *Renewal) error {
			_, err := x509.ParseCertificate(r.Cert)
			return errors.Join(checkVersion(r.V), sameName("host", r.Host, k.host), err)
		})
	case kindMembers:
		return decodeChecked(value, func(m *memberList) error { return m.check() })
	case kindRevoked:
		return decodeChecked(value, func(r *Revocation) error {
			return errors.Join(checkVersion(r.V), sameName("host", r.Host, k.host), checkText("name", r.Name))
		})
	case kindEndpoint:
		return decodeChecked(value, func(e *Endpoint) error { return e.check(k) })
	case kindCA:
		return decodeChecked(value, func(a *authority) error {
			errs := []error{checkVersion(a.V)}
			for _, der := range slices.Concat([][]byte{a.Cert}, a.Cross, a.Before) {
				_, err := x509.ParseCertificate(der)
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		})
	}
	return nil, nil // alive: being there is all
}

func decodeChecked[T any](value []byte, check func(*T) error) (any, error) {
	var fact T
	if err := json.Unmarshal(value, &fact); err != nil {
		return nil, fmt.Errorf("not readable: %w", err)
	}
	if err := check(&fact); err != nil {
		return nil, err
	}
	return fact, nil
}

func (h *Host) check(k factKey) error {
	errs := []error{checkVersion(h.V), sameName("id", h.ID, k.host), checkText("name", h.Name)}
	for _, a := range h.Addrs {
		if !a.IsValid() || a.Zone() != "" {
			errs = append(errs, fmt.Errorf("address %q", a))
		}
	}
	if len(h.Forwards) > maxForwards {
		errs = append(errs, fmt.Errorf("%d forwards, more than %d", len(h.Forwards), maxForwards))
	}
	for _, a := range h.Forwards {
		errs = append(errs, checkAddrPort("forward", a))
	}
	if len(h.Observed) > MaxObserved {
		errs = append(errs, fmt.Errorf("%d observed hosts, more than %d", len(h.Observed), MaxObserved))
	}
	for id, a := range h.Observed {
		errs = append(errs, CheckHostID(id), checkAddrPort("observed", a))
	}
	if n := len(h.HandshakeKey); n != 0 && n != 32 {
		errs = append(errs, fmt.Errorf("handshake key of %d bytes", n))
	}
	if h.Encap != "" && h.Encap != "udp" && h.Encap != "esp" {
		errs = append(errs, fmt.Errorf("encapsulation %.20q", h.Encap))
	}
	if h.UnderlayMTU < 0 || h.UnderlayMTU > 1<<16 {
		errs = append(errs, fmt.Errorf("underlay MTU %d", h.UnderlayMTU))
	}
	for _, s := range []string{h.OS, h.Arch, h.Version, h.DataPlane, h.DataPlaneReason} {
		errs = append(errs, checkText("text", s))
	}
	return errors.Join(errs...)
}

func checkAddrPort(what string, a netip.AddrPort) error {
	if !a.Addr().IsValid() || a.Addr().Zone() != "" || a.Port() == 0 {
		return fmt.Errorf("%s address %q", what, a)
	}
	return nil
}

// Check says whether the network is sound in itself: names, and that everything lies within the pool.
func (n *Network) Check() error {
	errs := []error{checkVersion(n.V), CheckName(n.Name)}
	if !n.Pool.IsValid() || n.Pool != n.Pool.Masked() {
		return errors.Join(append(errs, fmt.Errorf("pool %s is not a network", n.Pool))...)
	}
	if n.BlockLen < n.Pool.Bits() || n.BlockLen > n.Pool.Addr().BitLen() {
		errs = append(errs, fmt.Errorf("block length %d in the pool %s", n.BlockLen, n.Pool))
	}
	for _, d := range n.Dynamic {
		if !d.IsValid() || d != d.Masked() || d.Bits() < n.Pool.Bits() || !n.Pool.Contains(d.Addr()) {
			errs = append(errs, fmt.Errorf("dynamic range %s outside the pool %s", d, n.Pool))
		}
	}
	inside := func(what string, a netip.Addr) {
		if !n.Pool.Contains(a) {
			errs = append(errs, fmt.Errorf("%s %s outside the pool %s", what, a, n.Pool))
		}
	}
	if n.Gateway.IsValid() {
		inside("gateway", n.Gateway)
	}
	for name, a := range n.Aux {
		errs = append(errs, checkText("name of an aux address", name))
		inside("aux address", a)
	}
	return errors.Join(errs...)
}

func (e *Endpoint) check(k factKey) error {
	errs := []error{checkVersion(e.V), sameName("host", e.Host, k.host), sameName("network", e.Network, k.network),
		checkText("id", e.ID), checkText("name", e.Name), checkText("container id", e.ContainerID),
		checkText("service", e.Service), checkText("project", e.Project)}
	if e.Addr != k.addr {
		errs = append(errs, fmt.Errorf("address %s is not that of the key", e.Addr))
	}
	if mac, err := net.ParseMAC(e.MAC); err != nil || len(mac) != 6 {
		errs = append(errs, fmt.Errorf("MAC address %.30q", e.MAC))
	}
	for _, alias := range e.Aliases {
		errs = append(errs, checkText("alias", alias))
	}
	for key, value := range e.Labels {
		errs = append(errs, checkText("label", key), checkText("value of a label", value))
	}
	for _, p := range e.Ports {
		if p.Proto != "tcp" && p.Proto != "udp" && p.Proto != "sctp" || p.Port == 0 || p.HostIP.Zone() != "" {
			errs = append(errs, fmt.Errorf("port %d/%.20q of address %q", p.Port, p.Proto, p.HostIP))
		}
	}
	return errors.Join(errs...)
}

func checkVersion(v int) error {
	switch {
	case v > Version:
		return fmt.Errorf("version %d is newer than this version of meshsec knows", v)
	case v < 1:
		return errors.New("it has no version")
	}
	return nil
}

func sameName(what, got, want string) error {
	if got != want {
		return fmt.Errorf("%s %.70q is not that of the key", what, got)
	}
	return nil
}

// checkText keeps out what would disturb a terminal or a log.
func checkText(what, s string) error {
	if len(s) > 1024 {
		return fmt.Errorf("%s of %d characters", what, len(s))
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%s %.70q is not printable", what, s)
		}
	}
	return nil
}
