package store

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Prefix is where the facts of an environment live in etcd; keys in Snapshot.Bad and errors are given below it.
func Prefix(environment string) string { return keyRoot + environment + "/" }

const keyRoot = "/meshsec/v1/"

const (
	kindHost     = "hosts"
	kindAlive    = "alive"
	kindNetwork  = "networks"
	kindBlock    = "blocks"
	kindStatic   = "static"
	kindRouter   = "routers"
	kindEndpoint = "endpoints"
	kindCA       = "ca"
	kindReleased = "released"
	kindRevoked  = "revoked"
	kindCert     = "certs"
	kindServer   = "servers"
	kindMembers  = "members"
)

// factKey is a key below Prefix, taken apart. Which fields count is the kind's matter.
type factKey struct {
	kind    string
	host    string
	network string
	addr    netip.Addr
	prefix  netip.Prefix
	claim   string // the key of the claim that a release is about
}

func hostKey(id string) factKey      { return factKey{kind: kindHost, host: id} }
func aliveKey(id string) factKey     { return factKey{kind: kindAlive, host: id} }
func networkKey(name string) factKey { return factKey{kind: kindNetwork, network: name} }
func blockKey(k BlockKey) factKey {
	return factKey{kind: kindBlock, network: k.Network, prefix: k.Prefix}
}
func staticKey(k AddrKey) factKey    { return factKey{kind: kindStatic, network: k.Network, addr: k.Addr} }
func routerKey(a netip.Addr) factKey { return factKey{kind: kindRouter, addr: a} }
func certKey(id string) factKey      { return factKey{kind: kindCert, host: id} }
func serverKey(id string) factKey    { return factKey{kind: kindServer, host: id} }
func revokedKey(id string) factKey   { return factKey{kind: kindRevoked, host: id} }
func releasedKey(host, claim string) factKey {
	return factKey{kind: kindReleased, host: host, claim: claim}
}
func endpointKey(k EndpointKey) factKey {
	return factKey{kind: kindEndpoint, host: k.Host, network: k.Network, addr: k.Addr}
}

func (k factKey) String() string {
	switch k.kind {
	case kindHost, kindAlive, kindRevoked, kindCert, kindServer:
		return k.kind + "/" + k.host
	case kindReleased:
		return k.kind + "/" + k.host + "/" + k.claim
	case kindNetwork:
		return k.kind + "/" + k.network
	case kindBlock:
		return k.kind + "/" + k.network + "/" + k.prefix.String()
	case kindStatic:
		return k.kind + "/" + k.network + "/" + k.addr.String()
	case kindRouter:
		return k.kind + "/" + k.addr.String()
	case kindEndpoint:
		return k.kind + "/" + k.host + "/" + k.network + "/" + k.addr.String()
	}
	return k.kind
}

// isClaim says whether the value is a Claim.
func (k factKey) isClaim() bool {
	return k.kind == kindBlock || k.kind == kindStatic || k.kind == kindRouter
}

// errOtherKind marks a key that is none of these facts: a later version's, perhaps. It is passed over in silence.
var errOtherKind = errors.New("not a fact of this version")

// parseKey is the inverse of String: a key is read only if String gives it back, so no fact has two keys.
func parseKey(s string) (factKey, error) {
	kind, rest, _ := strings.Cut(s, "/")
	k := factKey{kind: kind}
	var err error
	switch kind {
	case kindReleased:
		k.host, k.claim, _ = strings.Cut(rest, "/")
		var of factKey
		if of, err = parseKey(k.claim); err == nil && !of.isClaim() {
			err = errors.New("a release of no claim")
		}
		err = errors.Join(CheckHostID(k.host), err)
	case kindHost, kindAlive, kindRevoked, kindCert, kindServer:
		k.host, err = rest, CheckHostID(rest)
	case kindNetwork:
		k.network, err = rest, CheckName(rest)
	case kindBlock:
		k.network, rest, _ = strings.Cut(rest, "/")
		var prefixErr error
		k.prefix, prefixErr = netip.ParsePrefix(rest)
		if prefixErr == nil && k.prefix != k.prefix.Masked() {
			prefixErr = fmt.Errorf("%s is not the start of a block", k.prefix)
		}
		err = errors.Join(CheckName(k.network), prefixErr)
	case kindStatic:
		k.network, rest, _ = strings.Cut(rest, "/")
		k.addr, err = parseAddr(rest)
		err = errors.Join(CheckName(k.network), err)
	case kindRouter:
		k.addr, err = parseAddr(rest)
	case kindEndpoint:
		k.host, rest, _ = strings.Cut(rest, "/")
		k.network, rest, _ = strings.Cut(rest, "/")
		k.addr, err = parseAddr(rest)
		err = errors.Join(CheckHostID(k.host), CheckName(k.network), err)
	case kindCA, kindMembers:
	default:
		return k, errOtherKind
	}
	if errors.Is(err, errOtherKind) { // of the claim in a release
		err = errors.New("a release of no claim")
	}
	if err == nil && k.String() != s {
		err = errors.New("the key is not in its normal form")
	}
	if err != nil {
		return k, fmt.Errorf("key: %w", err)
	}
	return k, nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err == nil && a.Zone() != "" {
		err = errors.New("an address with a zone")
	}
	return a, err
}
