package metadata

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
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

// A value of the tree is a node, a list, a *many, a string, a bool, an int, or lazy, which makes one of these. What has many
// parts is only made as far as it is asked for.
type (
	node = map[string]any
	list = []any
	lazy func() any
)

// many is a list whose parts are made when they are asked for.
type many struct {
	n     int // how many parts
	least int // bytes that they are at least, as JSON or YAML
	name  func(i int) string
	at    func(i int) any
	find  func(word string) any // by name or UUID, in any case; nil: there is none
}

// What a container and a host are at least (bytes): the names of the properties, and what is never empty.
const leastContainer, leastHost = 250, 100

// force makes what is lazy; nil: it is not there.
func force(value any) any {
	if make, ok := value.(lazy); ok {
		return make()
	}
	return value
}

// roots are the names below a version, and what makes the value of each.
var roots = map[string]func(*job) any{
	"self":       (*job).self,
	"containers": (*job).containers,
	"hosts":      (*job).hosts,
	"networks":   (*job).networks,
	"services":   (*job).services,
	"version":    func(j *job) any { return j.view.dir.Version(j.view.from) },
}

func (j *job) self() any {
	v := j.view
	s := node{"container": container(v.dir, v.ownEndpoints()), "network": v.network(v.from.Network), "host": v.host(v.from.Host)}
	if name := v.from.Service; name != "" {
		s["service"] = lazy(func() any {
			if found := j.catalog().service(v.from.Project, name); found != nil {
				return found.node(v.dir)
			}
			return nil
		})
	}
	return s
}

// ownEndpoints are the asker's, the one that it asks by first.
func (v view) ownEndpoints() endpoints {
	own := endpoints{&v.from.Endpoint}
	for i := range v.from.Own {
		if e := &v.from.Own[i].Endpoint; e.ID != v.from.ID {
			own = append(own, e)
		}
	}
	return own
}

func (j *job) containers() any {
	c := j.catalog()
	all := manyContainers(j.view.dir, c.containers)
	all.find = func(word string) any {
		if i, ok := c.named[strings.ToLower(word)]; ok {
			return all.at(i)
		}
		return nil
	}
	return all
}

func manyContainers(dir *directory.Directory, of []endpoints) *many {
	at := func(i int) any { return container(dir, of[i]) }
	return &many{n: len(of), least: leastContainer * len(of), at: at, name: func(i int) string { return of[i][0].Name }, find: func(word string) any {
		for _, called := range []func(endpoints) string{func(e endpoints) string { return e[0].Name }, endpoints.uuid} {
			if i := slices.IndexFunc(of, func(e endpoints) bool { return strings.EqualFold(called(e), word) }); i >= 0 {
				return at(i)
			}
		}
		return nil
	}}
}

// container describes one by its endpoints; the first is the primary one.
func container(dir *directory.Directory, of endpoints) node {
	first := of[0]
	ips, networks, aliases, ports := list{}, list{}, list{}, list{}
	seen := map[string]bool{}
	for _, e := range of {
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
		"name": first.Name, "hostname": first.Name, "uuid": of.uuid(), "external_id": first.ContainerID,
		"primary_ip": first.Addr.String(), "primary_mac_address": first.MAC, "ips": ips, "network_uuid": first.Network, "networks": networks,
		"aliases": aliases, "ports": ports, "labels": labels, "host_uuid": first.Host, "service_name": first.Service, "stack_name": first.Project,
		"state": state, "created": first.Since.UTC().Format(time.RFC3339), "dns": list{link.ServiceAddr.String()},
	}
}

func (j *job) hosts() any {
	dir := j.view.dir
	known := dir.Snapshot().Hosts
	sorted := sync.OnceValue(func() []store.Host {
		return slices.SortedFunc(maps.Values(known), func(a, b store.Host) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
		})
	})
	return &many{n: len(known), least: leastHost * len(known), name: func(i int) string { return sorted()[i].Name },
		at: func(i int) any { return host(dir, sorted()[i]) }, find: func(word string) any {
			word = strings.ToLower(word)
			if called := dir.Hosts(word); word != "" && len(called) > 0 {
				return host(dir, called[0])
			}
			if h, ok := known[word]; ok {
				return host(dir, h)
			}
			return nil
		}}
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

func (j *job) networks() any {
	all := list{}
	for _, name := range j.view.from.Networks {
		all = append(all, j.view.network(name))
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

func (j *job) services() any {
	dir, of := j.view.dir, j.catalog().services
	all := &many{n: len(of), name: func(i int) string { return of[i].name }, at: func(i int) any { return of[i].node(dir) }, find: func(word string) any {
		for _, called := range []func(service) string{func(s service) string { return s.name }, service.uuid} {
			if i := slices.IndexFunc(of, func(s service) bool { return strings.EqualFold(called(s), word) }); i >= 0 {
				return of[i].node(dir)
			}
		}
		return nil
	}}
	for _, s := range of {
		all.least += leastContainer * len(s.containers)
	}
	return all
}

func (s service) uuid() string { return s.project + "/" + s.name }

func (s service) node(dir *directory.Directory) node {
	return node{"name": s.name, "stack_name": s.project, "uuid": s.uuid(), "kind": "service", "scale": len(s.containers),
		"containers": manyContainers(dir, s.containers)}
}
