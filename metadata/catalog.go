package metadata

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/store"
)

// catalog is what is on a set of networks, in the order of the lists. All who are on the same networks share it.
type catalog struct {
	containers []endpoints
	services   []service
	named      map[string]int // the number of a container by its name or UUID in lower case; names go first
}

// endpoints are a container's; the first is the primary one.
type endpoints []*store.Endpoint

// service is what containers are instances of: by Compose's or Swarm's labels.
type service struct {
	project, name string
	containers    []endpoints
}

func (e endpoints) uuid() string { return cmp.Or(e[0].ContainerID, e[0].ID) }

func newCatalog(dir *directory.Directory, networks []string) *catalog {
	type group struct{ host, container string }
	groups := map[group]endpoints{}
	for _, e := range dir.Endpoints(networks) {
		k := group{e.Host, cmp.Or(e.ContainerID, e.ID)}
		groups[k] = append(groups[k], e.Endpoint)
	}
	c := &catalog{named: make(map[string]int, 2*len(groups))}
	c.containers = slices.SortedFunc(maps.Values(groups), func(a, b endpoints) int {
		return cmp.Or(cmp.Compare(a[0].Name, b[0].Name), cmp.Compare(a[0].Host, b[0].Host), a[0].Addr.Compare(b[0].Addr))
	})
	name := func(word string, i int) {
		if word = strings.ToLower(word); word != "" {
			if _, taken := c.named[word]; !taken {
				c.named[word] = i
			}
		}
	}
	for i, e := range c.containers {
		name(e[0].Name, i)
	}
	for i, e := range c.containers {
		name(e.uuid(), i)
	}
	c.setServices()
	return c
}

func (c *catalog) setServices() {
	type group struct{ project, service string }
	found := map[group][]endpoints{}
	for _, e := range c.containers {
		if e[0].Service != "" {
			k := group{e[0].Project, e[0].Service}
			found[k] = append(found[k], e)
		}
	}
	for k, containers := range found {
		c.services = append(c.services, service{k.project, k.service, containers})
	}
	slices.SortFunc(c.services, func(a, b service) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.project, b.project))
	})
}

// service finds one by its whole name, nil if there is none.
func (c *catalog) service(project, name string) *service {
	i, ok := slices.BinarySearchFunc(c.services, service{project: project, name: name}, func(a, b service) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.project, b.project))
	})
	if !ok {
		return nil
	}
	return &c.services[i]
}

// key is what a result was made from: facts are one value as long as they are the same.
type key struct {
	dir      *directory.Directory
	networks string
	what     string
}

func (v view) key(what string) key { return key{v.dir, strings.Join(v.from.Networks, "/"), what} }

// cache keeps a few results of the present facts. It may be used concurrently.
type cache[V any] struct {
	max int
	mu  sync.Mutex
	of  map[key]V
}

func (c *cache[V]) get(k key) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	value, ok := c.of[k]
	return value, ok
}

// put keeps a result, and none of facts that are no longer those of now.
func (c *cache[V]) put(k key, value V, now *directory.Directory) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.of, func(k key, _ V) bool { return k.dir != now })
	if k.dir != now {
		return
	}
	for old := range c.of {
		if len(c.of) < c.max {
			break
		}
		delete(c.of, old)
	}
	if c.of == nil {
		c.of = map[key]V{}
	}
	c.of[k] = value
}
