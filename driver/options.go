package driver

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/meshsec/meshsec/store"
)

// The options of `docker network create -o`, and the keys that Docker wraps them in.
const (
	optionMTU       = "meshsec.mtu"
	optionDockerMTU = "com.docker.network.driver.mtu"
	optionNetwork   = "meshsec.network"
	optionSticky    = "meshsec.sticky"

	generic    = "com.docker.network.generic"
	enableIPv4 = "com.docker.network.enable_ipv4"
	enableIPv6 = "com.docker.network.enable_ipv6"
	internal   = "com.docker.network.internal"

	ownPrefix = "meshsec."
)

// minMTU is what every IPv4 host must be able to receive (RFC 791, section 3.2: total length).
const minMTU = 576

var knownOptions = []string{optionDockerMTU, optionMTU, optionNetwork, optionSticky}

// wish is a NetworkRequest that was checked for itself.
type wish struct {
	network store.LocalNetwork    // without the network's name and pool ID
	aux     map[string]netip.Addr // by name
	name    string                // -o meshsec.network; empty: not given
}

// parse checks a request for everything that needs no look at other networks.
func (d *Driver) parse(req NetworkRequest) (wish, error) {
	w := wish{network: store.LocalNetwork{DockerID: req.ID}}
	if req.ID == "" {
		return w, errors.New("NetworkID is missing in the request")
	}
	if err := w.top(req.Options); err != nil {
		return w, err
	}
	if len(req.IPv6) > 0 {
		return w, errors.New("networks of meshsec carry IPv4 only; leave out --ipv6 and the IPv6 subnet")
	}
	if len(req.IPv4) != 1 {
		return w, fmt.Errorf("a network of meshsec has one pool, not %d; give one --subnet, or none", len(req.IPv4))
	}
	if err := w.data(req.IPv4[0]); err != nil {
		return w, err
	}
	options, err := words(req.Options[generic])
	if err != nil {
		return w, err
	}
	w.network.Options = options
	return w, w.generic(options, d.o.MTU())
}

// top reads what Docker says itself about the network.
func (w *wish) top(options map[string]any) error {
	if on, ok := options[enableIPv6].(bool); ok && on {
		return errors.New("networks of meshsec carry IPv4 only; leave out --ipv6")
	}
	if on, ok := options[enableIPv4].(bool); ok && !on {
		return errors.New("networks of meshsec carry IPv4; leave out --ipv4=false")
	}
	w.network.Internal, _ = options[internal].(bool)
	return nil
}

// data reads the pool.
func (w *wish) data(data PoolData) error {
	if data.AddressSpace == "LocalDefault" || data.AddressSpace == "GlobalDefault" {
		return fmt.Errorf("Docker's own IPAM driver gives each host addresses of its own; type: %s NAME", command)
	}
	pool, err := prefix("pool", data.Pool)
	if err != nil {
		return err
	}
	gateway, err := prefix("gateway", data.Gateway)
	if err != nil {
		return err
	}
	w.network.Pool, w.network.Gateway = pool.Masked(), gateway.Addr()
	if !pool.Contains(gateway.Addr()) {
		return fmt.Errorf("gateway %v is outside the pool %v", gateway.Addr(), pool)
	}
	for name, text := range data.Aux {
		aux, err := prefix("auxiliary address", text)
		if err != nil {
			return err
		}
		if w.aux == nil {
			w.aux = map[string]netip.Addr{}
		}
		w.aux[name] = aux.Addr()
	}
	return nil
}

// CheckOptions says what is wrong with the options of `docker network create -o`. limit is the largest packet, in bytes, that
// the tunnels of this host carry. In a Swarm nobody else looks at them before a node gets its first task.
func CheckOptions(options map[string]string, limit int) error {
	return new(wish).generic(options, limit)
}

// generic reads what the user gave with -o.
func (w *wish) generic(options map[string]string, limit int) error {
	for _, key := range slices.Sorted(maps.Keys(options)) {
		value := options[key]
		switch key {
		case optionNetwork:
			w.name = value
		case optionMTU, optionDockerMTU:
			mtu, err := strconv.Atoi(value)
			if err != nil || mtu < minMTU || mtu > limit {
				return fmt.Errorf("-o %s must be %d to %d bytes (what the tunnels of this host carry), not %q", key, minMTU, limit, value)
			}
			if w.network.MTU != 0 && w.network.MTU != mtu {
				return fmt.Errorf("-o %s and -o %s contradict each other; give one", optionDockerMTU, optionMTU)
			}
			w.network.MTU = mtu
		case optionSticky:
			if value != "on" && value != "off" {
				return fmt.Errorf("-o %s must be on (a container that comes back gets its address back if it can) or off, not %q", key, value)
			}
			w.network.Forgetful = value == "off"
		default:
			return fmt.Errorf("-o %s is not known; known are %s", key, strings.Join(knownOptions, ", "))
		}
	}
	return nil
}

// words reads Docker's map of options, in which all values are text.
func words(value any) (map[string]string, error) {
	switch m := value.(type) {
	case nil:
		return nil, nil
	case map[string]string:
		return maps.Clone(m), nil
	case map[string]any:
		if len(m) == 0 {
			return nil, nil
		}
		out := make(map[string]string, len(m))
		for k, v := range m {
			text, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("option %s is no text but %T", k, v)
			}
			out[k] = text
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s is no map but %T", generic, value)
}
