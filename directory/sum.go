package directory

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	"github.com/meshsec/meshsec/store"
)

// equal tells whether two endpoints say the same of a container.
func equal(a, b *store.Endpoint) bool {
	return a.ID == b.ID && a.MAC == b.MAC && a.Name == b.Name && a.ContainerID == b.ContainerID && a.Service == b.Service && a.Project == b.Project &&
		a.Since.Equal(b.Since) && slices.Equal(a.Aliases, b.Aliases) && maps.Equal(a.Labels, b.Labels) && slices.Equal(a.Ports, b.Ports)
}

// Sums of contents are added up, so one can be taken out again; equal contents have equal sums on every host and after
// every restart. They tell that something is different, not who wrote it.

func sumEndpoint(e store.Endpoint) uint64 {
	words := []string{e.ID, e.Host, e.Network, e.Addr.String(), e.MAC, e.Name, e.ContainerID, e.Service, e.Project}
	words = append(append(words, strconv.Itoa(len(e.Aliases))), e.Aliases...)
	for _, key := range slices.Sorted(maps.Keys(e.Labels)) {
		words = append(words, key, e.Labels[key])
	}
	for _, p := range e.Ports {
		words = append(words, p.String())
	}
	return sum(words...)
}

func sumHost(h store.Host, lost bool) uint64 {
	words := []string{h.ID, h.Name, h.Version, h.OS, h.Arch, strconv.FormatBool(lost)}
	for _, a := range h.Addrs {
		words = append(words, a.String())
	}
	return sum(words...)
}

// sum hashes words, each with its length.
func sum(words ...string) uint64 {
	h := fnv.New64a()
	var size [4]byte
	for _, w := range words {
		binary.BigEndian.PutUint32(size[:], uint32(len(w)))
		_, _ = h.Write(size[:])
		_, _ = h.Write([]byte(w))
	}
	return h.Sum64()
}
