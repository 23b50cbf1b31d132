package directory

import (
	"slices"
	"strings"

	"github.com/meshsec/meshsec/store"
)

// below starts the index's keys for names that only have others below them: web.shop is below shop.
const below = "*."

// Names are what an endpoint is called, in lower case and sorted: its container's name, its aliases, and of its service:
//
//	web  web.shop      Compose: service, service.project
//	shop_web           Swarm: the whole name of a stack's service
//	tasks.web  tasks.shop_web
//
// Names that DNS can't carry are left out.
func Names(e store.Endpoint) []string {
	names := append([]string{e.Name}, e.Aliases...)
	if e.Service != "" {
		names = append(names, e.Service, "tasks."+e.Service)
		if e.Project != "" {
			whole := e.Project + "_" + e.Service
			names = append(names, e.Service+"."+e.Project, whole, "tasks."+whole)
		}
	}
	for i, name := range names {
		names[i] = strings.ToLower(name)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !carried(name) })
	slices.Sort(names)
	return slices.Compact(names)
}

// maxName leaves room for network and domain in the 253 bytes of a name (RFC 1035, section 2.3.4).
const maxName = 180

// carried tells whether DNS can carry a name.
func carried(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' || r == '"' || r == '*' })
}

// keys are what an endpoint is indexed by.
func keys(e store.Endpoint) []string {
	names := Names(e)
	all := slices.Clip(names)
	for _, name := range names {
		for _, rest, found := strings.Cut(name, "."); found; _, rest, found = strings.Cut(rest, ".") {
			all = append(all, below+rest)
		}
	}
	if len(all) > len(names) {
		slices.Sort(all)
		all = slices.Compact(all)
	}
	return all
}
