package metadata

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/store"
)

// view is what one container may see at one moment.
type view struct {
	dir  *directory.Directory
	from *directory.Asker
}

// A value of the tree is a node, a list, a string, a bool or an int.
type (
	node = map[string]any
	list = []any
)

// roots are the names below a version, and what makes the value of each.
var roots = map[string]func(view) any{
	"self":       view.self,
	"containers": view.containers,
	"hosts":      view.hosts,
	"networks":   view.networks,
	"services":   view.services,
	"version":    func(v view) any { return v.dir.Version(v.from) },
}

func (v view) self() any {
	own := container(v.dir, v.ownEndpoints())
	s := node{"container": own, "network": v.network(v.from.Network), "host": v.host(v.from.Host)}
	if name := v.from.Service; name != "" {
		for _, service := range v.services().(list) {
			if m := service.(node); m["name"] == name && m["stack_name"] == v.from.Project {
				s["service"] = m
			}
		}
	}
	return s
}

// ownEndpoints are the asker's, the one that it asks by first.
func (v view) ownEndpoints() []store.Endpoint {
	own := []store.Endpoint{v.from.Endpoint}
	for _, e := range v.from.Own {
		if e.ID != v.from.ID {
			own = append(own, e.Endpoint)
		}
	}
	return own
}

// group gathers endpoints by container, sorted by its name.
func (v view) group() [][]store.Endpoint {
	type key struct{ host, container string }
	groups := map[key][]store.Endpoint{}
	for _, e := range v.dir.Endpoints(v.from.Networks) {
		k := key{e.Host, cmp.Or(e.ContainerID, e.ID)}
		groups[k] = append(groups[k], e.Endpoint)
	}
	return slices.SortedFunc(maps.Values(groups), func(a, b []store.Endpoint) int {
		return cmp.Or(cmp.Compare(a[0].Name, b[0].Name), cmp.Compare(a[0].Host, b[0].Host), a[0].Addr.Compare(b[0].Addr))
	})
}

func (v view) containers() any {
	all := list{}
	for _, endpoints := range v.group() {
		all = append(all, container(v.dir, endpoints))
	}
	return all
}

// container describes one by its endpoints; the first is the primary one.
func container(dir *directory.Directory, endpoints []store.Endpoint) node {
	first := endpoints[0]
	ips, networks, aliases, ports := list{}, list{}, list{}, list{}
	seen := map[string]bool{}
	for _, e := range endpoints {
		ips = append(ips, e.Addr.String())
		networks = append(networks, e.Network)
		for _, a := range e.Aliases {
			if !seen[a] {
				seen[a] = true
				aliases = append(aliases, a)
			}
		}
	}
	for _, p := range first.Ports {
		ports = append(ports, p.String())
	}
	labels := node{}
	for key, value := range first.Labels {
		labels[key] = value
	}
	state := "running"
	if dir.Lost(first.Host) {
		state = "lost"
	}
	return node{
		"name": first.Name, "hostname": first.Name, "uuid": cmp.Or(first.ContainerID, first.ID), "external_id": first.ContainerID,
		"primary_ip": first.Addr.String(), "primary_mac_address": first.MAC, "ips": ips, "network_uuid": first.Network, "networks": networks,
		"aliases": aliases, "ports": ports, "labels": labels, "host_uuid": first.Host, "service_name": first.Service, "stack_name": first.Project,
		"state": state, "created": first.Since.UTC().Format(time.RFC3339), "dns": list{link.ServiceAddr.String()},
	}
}

func (v view) hosts() any {
	hosts := slices.SortedFunc(maps.Values(v.dir.Snapshot().Hosts), func(a, b store.Host) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	all := list{}
	for _, h := range hosts {
		all = append(all, host(v.dir, h))
	}
	return all
}

// host describes this host even if etcd has never been reached.
func (v view) host(id string) node {
	h, ok := v.dir.Snapshot().Hosts[id]
	if !ok {
		h = store.Host{ID: id, Name: v.dir.Local().Identity.HostName}
	}
	return host(v.dir, h)
}

func host(dir *directory.Directory, h store.Host) node {
	n := node{"name": h.Name, "hostname": h.Name, "uuid": h.ID, "agent_ip": "", "labels": node{}, "os": h.OS, "arch": h.Arch, "state": "active", "agent_state": "active"}
	if len(h.Addrs) > 0 {
		n["agent_ip"] = h.Addrs[0].String()
	}
	if dir.Lost(h.ID) {
		n["state"], n["agent_state"] = "lost", "disconnected"
	}
	return n
}

func (v view) networks() any {
	all := list{}
	for _, name := range v.from.Networks {
		all = append(all, v.network(name))
	}
	return all
}

func (v view) network(name string) node {
	n := node{"name": name, "uuid": name, "is_default": name == "default", "subnets": list{}, "gateway": "", "metadata": node{}}
	for _, l := range v.dir.Local().Networks {
		if l.Network == name {
			n["subnets"], n["gateway"] = list{node{"network_address": l.Pool.String()}}, l.Gateway.String()
		}
	}
	return n
}

// services are what containers are instances of: by Compose's or Swarm's labels.
func (v view) services() any {
	type key struct{ project, service string }
	found := map[key]list{}
	for _, endpoints := range v.group() {
		if e := endpoints[0]; e.Service != "" {
			k := key{e.Project, e.Service}
			found[k] = append(found[k], container(v.dir, endpoints))
		}
	}
	all := list{}
	for _, k := range slices.SortedFunc(maps.Keys(found), func(a, b key) int {
		return cmp.Or(strings.Compare(a.service, b.service), strings.Compare(a.project, b.project))
	}) {
		all = append(all, node{"name": k.service, "stack_name": k.project, "uuid": k.project + "/" + k.service, "kind": "service",
			"scale": len(found[k]), "containers": found[k]})
	}
	return all
}
