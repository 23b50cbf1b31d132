package driver

import (
	"encoding/json"
	"slices"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/store"
)

// The keys of CreateEndpoint's options that tell of ports.
const (
	optionPublished = "com.docker.network.portmap"
	optionExposed   = "com.docker.network.endpoint.exposedports"
)

// maxPorts bounds the ports in an endpoint's fact.
const maxPorts = 64

// protocols are the IP protocol numbers that Docker publishes ports of, by IANA's registry.
var protocols = map[int]string{6: "tcp", 17: "udp", 132: "sctp"}

// requested gives the ports that the container exposes or publishes, as far as Docker has settled that before the start: a
// port on the host that Docker chooses itself is told by its API only. Docker publishes them by docker_gwbridge. What is not
// in the form known here is left out: nothing depends on it.
func requested(options map[string]any) []store.Port {
	var ports []store.Port
	for _, key := range []string{optionPublished, optionExposed} {
		var list []struct {
			Proto, Port, HostPort, HostPortEnd int
			HostIP                             string
		}
		text, err := json.Marshal(options[key])
		if err != nil || json.Unmarshal(text, &list) != nil {
			continue
		}
		for _, b := range list {
			p := store.Port{Proto: protocols[b.Proto], Port: uint16(b.Port)}
			if p.Proto == "" || int(p.Port) != b.Port {
				continue
			}
			if b.HostPort == b.HostPortEnd && b.HostPort == int(uint16(b.HostPort)) && b.HostPort != 0 {
				p.HostPort, p.HostIP = uint16(b.HostPort), engine.HostIP(b.HostIP)
			}
			ports = append(ports, p)
		}
	}
	return sorted(ports)
}

// sorted brings ports into the order of facts. One that is published is not listed as exposed, too.
func sorted(ports []store.Port) []store.Port {
	published := map[store.Port]bool{}
	for _, p := range ports {
		if p.HostPort != 0 {
			published[store.Port{Proto: p.Proto, Port: p.Port}] = true
		}
	}
	ports = slices.DeleteFunc(ports, func(p store.Port) bool { return p.Port == 0 || p.HostPort == 0 && published[p] })
	slices.SortFunc(ports, store.Port.Compare)
	ports = slices.Compact(ports)
	if len(ports) == 0 {
		return nil // the same fact, whether it has been empty or not
	}
	return slices.Clip(ports[:min(len(ports), maxPorts)])
}
