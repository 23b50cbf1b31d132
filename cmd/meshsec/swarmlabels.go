package main

import (
	"maps"
	"slices"

	"github.com/meshsec/meshsec/engine"
)

// The labels of a configuration that tell its pool, for engines from 29 on do not.
const (
	labelSubnet  = "meshsec.subnet"
	labelGateway = "meshsec.gateway"
)

// configured returns the pool of a configuration: as the engine lists it or, where it does not, as the
// labels tell it.
func configured(n engine.Network) []engine.Subnet {
	if len(n.IPAM.Config) > 0 || n.Labels[labelSubnet] == "" {
		return n.IPAM.Config
	}
	return []engine.Subnet{{Subnet: n.Labels[labelSubnet], Gateway: n.Labels[labelGateway]}}
}

// hideable reports whether the configuration wants a pool and the one in the list tells none.
func hideable(list []engine.Network, want engine.Network) bool {
	at := slices.IndexFunc(list, func(n engine.Network) bool { return n.Name == want.Name && n.ConfigOnly })
	return len(want.IPAM.Config) > 0 && at >= 0 && len(configured(list[at])) == 0
}

// labels are those of the configuration, for Docker's program.
func (w swarmNetwork) labels() (words []string) {
	labels := w.config().Labels
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, "--label", k+"="+labels[k])
	}
	return words
}
