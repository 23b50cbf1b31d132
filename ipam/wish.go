package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/meshsec/meshsec/store"
)

// wish is a PoolRequest that was checked for itself.
type wish struct {
	space   string
	network string       // --ipam-opt meshsec.network; empty: not named
	pool    netip.Prefix // --subnet; zero: any
	sub     netip.Prefix // --ip-range; zero: none
	block   int          // --ipam-opt meshsec.block; 0: not chosen
}

// unusable are ranges that the kernel gives a meaning of its own.
var unusable = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
}

// Check says what is wrong with a request by itself, without a look at networks and hosts.
func Check(req PoolRequest) error {
	_, err := parse(req)
	return err
}

func parse(req PoolRequest) (wish, error) {
	w := wish{space: req.AddressSpace}
	if req.V6 {
		return w, errors.New("networks of meshsec carry IPv4 only; leave out --ipv6 and the IPv6 subnet")
	}
	if req.AddressSpace != LocalSpace && req.AddressSpace != GlobalSpace {
		return w, fmt.Errorf("address space %q is not known; those of this plugin are %s and %s", req.AddressSpace, LocalSpace, GlobalSpace)
	}
	if err := w.options(req.Options); err != nil {
		return w, err
	}
	var err error
	if req.Pool != "" {
		if w.pool, err = prefix("--subnet", req.Pool); err != nil {
			return w, err
		}
		if w.pool.Bits() < minPoolLen || w.pool.Bits() > maxPoolLen {
			return w, fmt.Errorf("--subnet %v: a network's pool must be between /%d and /%d", w.pool, minPoolLen, maxPoolLen)
		}
		if at := slices.IndexFunc(unusable, w.pool.Overlaps); at >= 0 {
			return w, fmt.Errorf("--subnet %v overlaps with %v, which containers can't use", w.pool, unusable[at])
		}
	}
	if req.SubPool != "" {
		if w.sub, err = prefix("--ip-range", req.SubPool); err != nil {
			return w, err
		}
		if !w.pool.IsValid() {
			return w, fmt.Errorf("--ip-range %v needs --subnet", w.sub)
		}
		if !within(w.sub, w.pool) {
			return w, fmt.Errorf("--ip-range %v is not inside --subnet %v", w.sub, w.pool)
		}
		if w.sub.Bits() > maxBlockLen {
			return w, fmt.Errorf("--ip-range %v is too small; it must be at least a /%d", w.sub, maxBlockLen)
		}
	}
	return w, nil
}

func (w *wish) options(options map[string]string) error {
	for key, value := range options {
		switch {
		case key == OptionNetwork:
			if err := store.CheckName(value); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			w.network = value
		case key == OptionBlock:
			bits, err := strconv.Atoi(strings.TrimPrefix(value, "/"))
			if err != nil {
				return fmt.Errorf("%s must be a prefix length of %d to %d, not %q", key, minBlockLen, maxBlockLen, value)
			}
			if err := checkBlockLen(bits, nil); err != nil {
				return err
			}
			w.block = bits
		case strings.HasPrefix(key, dockerOptions): // Docker's own, in a Swarm
		default:
			return fmt.Errorf("--ipam-opt %s is not known; known are %s and %s", key, OptionBlock, OptionNetwork)
		}
	}
	return nil
}

// prefix reads an IPv4 prefix that has no bits set behind its length.
func prefix(flag, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%s %q is no subnet such as 10.42.0.0/16", flag, text)
	}
	if !p.Addr().Is4() {
		return p, fmt.Errorf("%s %s is not IPv4, which is all that networks of meshsec carry", flag, text)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%s %s has bits set behind its length; it should be %v", flag, text, p.Masked())
	}
	return p, nil
}

// id is the PoolID. Names hold no slash, so different pools have different IDs.
func (w wish) id(network string, pool netip.Prefix) string {
	id := w.space + "/" + network + "/" + pool.String()
	if w.sub.IsValid() {
		id += "/" + w.sub.String()
	}
	return id
}
