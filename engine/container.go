package engine

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Container is what Docker knows of a container.
type Container struct {
	ID, Name string
	Labels   map[string]string
	Ports    []Port
	// Aliases are the container's names in a network beside Name, by endpoint ID, as Docker lists them.
	Aliases map[string][]string
	// LinkLocal are the addresses of --link-local-ip, by endpoint ID.
	LinkLocal map[string][]string
}

// Port is a port that a container exposes, or one of the places that it is published at.
type Port struct {
	Proto    string // "tcp", "udp", "sctp"
	Port     uint16
	HostPort uint16     // 0: not published
	HostIP   netip.Addr // zero: every address of the host, or not published
}

// Container asks for one container. The answer waits for the container's start, stop or connection to a network to be over,
// which wait for the plugin: never ask this for a call of dockerd's.
func (c *Client) Container(ctx context.Context, id string) (Container, error) {
	var answer struct {
		ID     string `json:"Id"`
		Name   string
		Config struct {
			Labels       map[string]string
			ExposedPorts map[string]struct{}
		}
		NetworkSettings struct {
			Ports    map[string][]struct{ HostIP, HostPort string }
			Networks map[string]struct {
				EndpointID        string
				Aliases, DNSNames []string // DNSNames: from engine 25 on
				IPAMConfig        struct{ LinkLocalIPs []string }
			}
		}
	}
	if err := c.get(ctx, fmt.Sprintf("container %.12s", id), "/containers/"+url.PathEscape(id)+"/json", &answer); err != nil {
		return Container{}, err
	}
	found := Container{ID: answer.ID, Name: strings.TrimPrefix(answer.Name, "/"), Labels: answer.Config.Labels, Aliases: map[string][]string{}, LinkLocal: map[string][]string{}}
	for _, n := range answer.NetworkSettings.Networks {
		found.Aliases[n.EndpointID] = append(n.Aliases, n.DNSNames...)
		found.LinkLocal[n.EndpointID] = n.IPAMConfig.LinkLocalIPs
	}
	for name := range answer.Config.ExposedPorts {
		if p, ok := port(name); ok {
			found.Ports = append(found.Ports, p)
		}
	}
	for name, bindings := range answer.NetworkSettings.Ports {
		p, ok := port(name)
		if !ok {
			continue
		}
		found.Ports = append(found.Ports, p)
		for _, b := range bindings {
			host, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err != nil {
				continue
			}
			p.HostPort, p.HostIP = uint16(host), HostIP(b.HostIP)
			found.Ports = append(found.Ports, p)
		}
	}
	return found, nil
}

// port reads a port as Docker writes it, such as 80/tcp.
func port(name string) (Port, bool) {
	number, proto, ok := strings.Cut(name, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	return Port{Proto: proto, Port: uint16(n)}, ok && err == nil && n != 0
}

// HostIP reads the address that a port is published on; zero for all of the host's, however Docker writes that.
func HostIP(text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.IsUnspecified() || addr.Zone() != "" {
		return netip.Addr{}
	}
	return addr.Unmap()
}
