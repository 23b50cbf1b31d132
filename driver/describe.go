package driver

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/store"
)

// The bounds of what an endpoint's fact says of its container, for each host holds all facts in memory: numbers, and bytes
// for texts. What is longer or not printable is left out.
const (
	maxAliases  = 32
	maxName     = 255 // as in DNS
	maxLabels   = 32
	maxLabelKey = 128
	maxLabel    = 256
	maxAllBytes = 4 << 10 // of all labels' keys and values
)

// The labels in which Compose and Swarm say what a container is.
const (
	composeService = "com.docker.compose.service"
	composeProject = "com.docker.compose.project"
	composeOneoff  = "com.docker.compose.oneoff" // "True" for `compose run`: not an instance of the service
	composeNumber  = "com.docker.compose.container-number"
	swarmService   = "com.docker.swarm.service.name"
	swarmStack     = "com.docker.stack.namespace"
)

// noise starts the labels that tools write for themselves and that images inherit.
var noise = []string{"com.docker.", "desktop.docker.io/", "org.opencontainers.image.", "org.label-schema."}

// describe fills in what Docker says of the endpoint's container.
func describe(e store.Endpoint, c engine.Container) store.Endpoint {
	e.Name, e.ContainerID = text(c.Name), c.ID
	e.Aliases = aliases(c, e.ID)
	e.Service, e.Project = service(c.Labels)
	e.Labels = labels(c.Labels)
	e.Ports = nil
	for _, p := range c.Ports {
		if p.Proto == "tcp" || p.Proto == "udp" || p.Proto == "sctp" {
			e.Ports = append(e.Ports, store.Port(p))
		}
	}
	e.Ports = sorted(e.Ports)
	return e
}

// text gives s if it fits into a fact, else nothing.
func text(s string) string {
	if len(s) > maxName || !printable(s) {
		return ""
	}
	return s
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// aliases leaves out what engines up to 24 list and later ones give as DNS names: the container's own name, its short ID.
func aliases(c engine.Container, endpointID string) []string {
	var list []string
	for _, alias := range c.Aliases[endpointID] {
		if alias = text(alias); alias != "" && alias != c.Name && !(len(alias) >= 12 && strings.HasPrefix(c.ID, alias)) {
			list = append(list, alias)
		}
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.Clip(list[:min(len(list), maxAliases)])
}

func service(labels map[string]string) (service, project string) {
	if name := labels[swarmService]; name != "" {
		stack := labels[swarmStack]
		return text(strings.TrimPrefix(name, stack+"_")), text(stack)
	}
	if strings.EqualFold(labels[composeOneoff], "true") {
		return "", text(labels[composeProject])
	}
	return text(labels[composeService]), text(labels[composeProject])
}

// labels keeps what may be of use to others: what people have written, ours first, and the number of a Compose container.
func labels(all map[string]string) map[string]string {
	keys := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		if own := strings.HasPrefix(a, ownPrefix); own != strings.HasPrefix(b, ownPrefix) {
			if own {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	var kept map[string]string
	size := 0
	for _, key := range keys {
		value := all[key]
		if key != composeNumber && slices.ContainsFunc(noise, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			continue
		}
		if key == "" || len(key) > maxLabelKey || len(value) > maxLabel || size+len(key)+len(value) > maxAllBytes || !printable(key) || !printable(value) {
			continue
		}
		if kept == nil {
			kept = map[string]string{}
		}
		size += len(key) + len(value)
		if kept[key] = value; len(kept) == maxLabels {
			break
		}
	}
	return kept
}
