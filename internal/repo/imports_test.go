package repo

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/meshsec/meshsec"

// own says which packages of ours each package may import, and why no others. What is not listed is a program, a test's
// tool or new: a new package needs a line here and in docs/design.md.
var own = map[string]struct {
	may []string
	why string
}{
	"store":           {nil, "the facts stand alone, so that all others can be tested on facts written by hand"},
	"link":            {nil, "what the kernel carries stands alone, so that the order of its changes is decided in one place"},
	"ipsec":           {nil, "the words that the data planes, the handshake and the mesh share must not depend on one of them"},
	"ipsec/esp":       {nil, "sealing and opening is pure: no I/O, no clock, nothing to fake"},
	"mmsg":            {nil, "batches of datagrams know nothing of what is in them"},
	"ipsec/underlay":  {[]string{"mmsg"}, "the socket tells datagrams apart and knows nothing of keys or peers"},
	"ipsec/handshake": {[]string{"ipsec", "ipsec/underlay", "mmsg"}, "hosts agree on keys without etcd and without a data plane"},
	"ipsec/tun":       {[]string{"ipsec", "ipsec/esp", "ipsec/underlay", "link", "mmsg"}, "a data plane does not know where its config comes from"},
	"ipsec/xfrm":      {[]string{"ipsec", "ipsec/underlay", "link", "mmsg"}, "a data plane does not know where its config comes from"},
	"mesh":            {[]string{"store", "ipsec", "link"}, "the reconciler knows no data plane's implementation, or they could not be exchanged"},
	"engine":          {nil, "what Docker's API says is plain values, so that who asks decides what becomes of them"},
	"driver":          {[]string{"store", "link", "engine"}, "the network driver does not know that there is encryption"},
	"ipam":            {[]string{"store", "link"}, "the IPAM driver does not know that there is encryption"},
	"plugin":          {[]string{"driver", "ipam", "store", "link", "engine"}, "Docker's protocol ends here; what hosts do among themselves is not its matter"},
	"directory":       {[]string{"store"}, "who is where is a value made from the facts, whoever serves it"},
	"quota":           {nil, "what one container may ask is the same matter for every service"},
	"metadata":        {[]string{"directory", "quota", "store", "link"}, "the tree is made from the directory; sockets are given"},
	"dns":             {[]string{"directory", "mmsg", "quota", "store", "link"}, "answers are made from the directory; sockets and resolvers are given"},
	"pathmtu":         {nil, "a search has no I/O and no clock, so that every path can be played to it"},
	"control":         {nil, "the command line's views are plain values, so that the client needs nothing of the agent"},
	"settings":        {nil, "settings are read before anything else is there"},
}

// foreign says which packages alone may import a library, test files left aside, and why.
var foreign = []struct {
	prefix string
	only   []string
	why    string
}{
	{"go.etcd.io/etcd", []string{"store"}, "etcd's client and its errors stay behind the facts"},
	{"github.com/docker/libkv", []string{"store"}, "the checkpoint's file format is the store's own matter"},
	{"go.etcd.io/bbolt", []string{"store"}, "the checkpoint's file format is the store's own matter"},
	{"github.com/vishvananda/netlink", []string{"link", "ipsec/xfrm"}, "marks are set in one place, and its types print keys"},
	{"github.com/vishvananda/netns", []string{"link", "ipsec/xfrm"}, "who changes a thread's namespace must also bring it back or let it die"},
	{"github.com/google/nftables", []string{"link"}, "there is one table, and one place that writes it"},
	{"github.com/docker/go-plugins-helpers", []string{"plugin"}, "Docker's types end where its protocol ends"},
	{"github.com/flynn/noise", []string{"ipsec/handshake"}, "keys are agreed on in one place"},
	{"golang.org/x/crypto", []string{"ipsec/esp", "ipsec/handshake"}, "keys are used in two places"},
	{"github.com/spf13", []string{"cmd/meshsec"}, "only a program has a command line"},
	{"github.com/miekg/dns", []string{"dns"}, "messages of DNS are read and written in one place"},
	{"github.com/prometheus", []string{"cmd/meshsec"}, "packages count, the program shows"},
}

// unit is what `go list -json` tells of a package.
type unit struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// units lists the module's packages; with -e, so that a package that does not compile just now is still checked.
func units(t *testing.T) []unit {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,Deps", "./...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var all []unit
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var u unit
		err := dec.Decode(&u)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, u)
	}
}

func TestOwnImports(t *testing.T) {
	for _, u := range units(t) {
		name := strings.TrimPrefix(u.ImportPath, module+"/")
		rule, ok := own[name]
		if !ok {
			if !strings.HasPrefix(name, "cmd/") && !strings.HasPrefix(name, "internal/") && name != "e2e" && u.ImportPath != module {
				t.Errorf("%s: a new package: say in the table what it may import", name)
			}
			continue
		}
		for _, dep := range u.Deps {
			short, ours := strings.CutPrefix(dep, module+"/")
			if ours && !slices.Contains(rule.may, short) {
				t.Errorf("%s depends on %s: %s", name, short, rule.why)
			}
		}
	}
}

func TestForeignImports(t *testing.T) {
	for _, u := range units(t) {
		name := strings.TrimPrefix(u.ImportPath, module+"/")
		if strings.HasPrefix(name, "internal/") || name == "e2e" {
			continue // tools of tests
		}
		for _, path := range u.Imports {
			for _, rule := range foreign {
				if strings.HasPrefix(path, rule.prefix) && !slices.Contains(rule.only, name) {
					t.Errorf("%s imports %s: %s", name, path, rule.why)
				}
			}
		}
	}
}

// Facts and keys meet in one place.
func TestOnlyTheProgramKnowsAll(t *testing.T) {
	for _, u := range units(t) {
		if strings.HasPrefix(u.ImportPath, module+"/cmd/") || strings.HasPrefix(u.ImportPath, module+"/internal/") {
			continue
		}
		if slices.Contains(u.Deps, module+"/store") && slices.Contains(u.Deps, module+"/ipsec/handshake") {
			t.Errorf("%s depends on the store and the handshake: only cmd/meshsec puts them together", u.ImportPath)
		}
	}
}
