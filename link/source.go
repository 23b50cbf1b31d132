package link

import (
	"errors"
	"fmt"
	"maps"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// sourceSet is the set of what ports may send as: name of the port, MAC address, IPv4 address.
const sourceSet = "sources"

// source is an element of that set: IFNAMSIZ bytes, six and two of padding, four.
type source [unix.IFNAMSIZ + 8 + 4]byte

// newSource is the element of a pair. The MAC address is that of the endpoint's fact, whatever the container's end has by now.
func newSource(v Veth) (s source, err error) {
	if !v.Addr.Is4() || len(v.MAC) != 6 {
		return s, fmt.Errorf("veth %s: not an IPv4 address with an Ethernet one: %s, %s", v.RouterEnd, v.Addr, v.MAC)
	}
	copy(s[:unix.IFNAMSIZ-1], v.RouterEnd)
	copy(s[unix.IFNAMSIZ:], v.MAC)
	copy(s[unix.IFNAMSIZ+8:], v.Addr.AsSlice())
	return s, nil
}

// port is the name of the router end.
func (s source) port() string { return unix.ByteSliceToString(s[:unix.IFNAMSIZ]) }

// addSource lets a pair that is about to be made send as what it is. Needs the links lock.
func (r *Router) addSource(v Veth) error {
	s, err := newSource(v)
	if err != nil {
		return err
	}
	r.joined[v.RouterEnd] = s
	allowed := maps.Clone(r.allowed)
	if allowed == nil {
		// An agent's first call: what the one before it let through goes on until SetPorts says better.
		if allowed, err = r.sourcesThere(); err != nil {
			return err
		}
	}
	allowed[v.RouterEnd] = s
	return r.setSources(allowed)
}

// setSources makes the source guard (nftables table meshsec of family bridge, in the router namespace): a frame passes a
// bridge's port only as IPv4 or ARP, untagged, with the MAC and the IPv4 address of the port's endpoint; as ARP's sender,
// too. Every fragment bears the source address. DHCP is not spoken here. A port that is not among these may send nothing.
//
// All elements are one set, so the rules are as many for a thousand ports as for one; the rules are only written anew, and
// then with the counts so far, when they are not what we wrote. Needs the links lock.
func (r *Router) setSources(allowed map[string]source) error {
	t := &r.sources
	t.mu.Lock()
	defer t.mu.Unlock()
	anew := false
	err := t.set("1", func(c *nftables.Conn, table *nftables.Table) error {
		anew = true
		counts, err := t.counts()
		if err != nil {
			return err
		}
		return buildSourceGuard(c, table, elementsOf(allowed), counts)
	})
	if err == nil && !anew {
		err = r.syncSources(allowed)
	}
	if err != nil {
		return fmt.Errorf("source guard: %w", err)
	}
	r.allowed = allowed
	return nil
}

// syncSources changes, in one transaction, what the kernel has otherwise. Needs the table's lock.
func (r *Router) syncSources(allowed map[string]source) error {
	have, err := r.sourcesListed()
	if err != nil {
		return err
	}
	add, del := map[string]source{}, map[string]source{}
	for port, s := range allowed {
		if !have[s] {
			add[port] = s
		}
		delete(have, s)
	}
	for s := range have {
		del[string(s[:])] = s
	}
	if len(add)+len(del) == 0 {
		return nil
	}
	conn, table, err := r.sources.open()
	if err != nil {
		return err
	}
	set := sourceSetOf(table)
	if err := errors.Join(inMessages(conn.SetAddElements, set, elementsOf(add)), inMessages(conn.SetDeleteElements, set, elementsOf(del))); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		r.sources.written = "" // the next call writes it all
		return err
	}
	return nil
}

// sourcesListed reads the set back. Needs the table's lock.
func (r *Router) sourcesListed() (map[source]bool, error) {
	have := map[source]bool{}
	err := r.sources.elements(sourceSet, func() { clear(have) }, func(key []byte, _ bool) {
		if len(key) == len(source{}) {
			have[source(key)] = true
		}
	})
	return have, err
}

// sourcesThere is sourcesListed by port, for those who do not hold the table's lock.
func (r *Router) sourcesThere() (map[string]source, error) {
	r.sources.mu.Lock()
	defer r.sources.mu.Unlock()
	have, err := r.sourcesListed()
	if err != nil {
		return nil, fmt.Errorf("source guard: %w", err)
	}
	out := map[string]source{}
	for s := range have {
		out[s.port()] = s
	}
	return out, nil
}

func elementsOf(m map[string]source) []nftables.SetElement {
	var out []nftables.SetElement
	for _, s := range m {
		out = append(out, nftables.SetElement{Key: s[:]})
	}
	return out
}
