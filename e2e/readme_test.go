package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// blocks are the blocks of commands below a heading of a document, in order.
func blocks(t *testing.T, file, heading string) (all []string) {
	t.Helper()
	root, err := testnet.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range regexp.MustCompile("(?s)\n```\n(.*?)\n```\n").FindAllStringSubmatch(section, -1) {
		all = append(all, m[1])
	}
	if !found || len(all) == 0 {
		t.Fatalf("%s has no commands below %q", file, heading)
	}
	return all
}

// inTree types commands in a shell of the host, inside the source tree, where everything installed stays the host's own.
func inTree(t *testing.T, h *testnet.Host, commands string) string {
	t.Helper()
	root, err := testnet.Root()
	if err != nil {
		t.Fatal(err)
	}
	const own = "mountpoint -q /usr/local/bin || mount -t tmpfs mst-bin /usr/local/bin\n"
	return run(t, h, own+"cd "+root+"\n"+strings.ReplaceAll(commands, "/etc/meshsec", "/etc/docker/meshsec"))
}

// TestReadme types what the README says, word for word, on hosts that have Docker and nothing else: containers on three
// hosts ping each other. Nothing is left of a host that leaves as docs/install.md says.
func TestReadme(t *testing.T) {
	s := own(t, 3)
	leave := blocks(t, "docs/install.md", "Leave")[0]
	blocks := blocks(t, "README.md", "Install")
	if len(blocks) < 2 {
		t.Fatalf("%d blocks: one for the first host and one for others are expected", len(blocks))
	}
	blocks = blocks[:2]
	s.registry(t)
	s.publish(t, "present")
	for i, block := range blocks {
		if !documented.MatchString(block) {
			t.Errorf("block %d installs nothing that looks like %s", i+1, documented)
		}
		blocks[i] = documented.ReplaceAllString(block, image("present"))
	}
	for i, h := range s.Hosts {
		bare(t, h)
		docker(t, h, []string{"tag", testnet.Image, []string{"nginx", "alpine", "alpine"}[i]})
	}
	printed := strings.Split(typed(t, s.Hosts[0], blocks[0], ""), "\n")
	token := printed[len(printed)-1]
	for _, h := range s.Hosts[1:] {
		out := typed(t, h, blocks[1], token)
		if !strings.Contains(out, "bytes from 10.42.") { // the first one may have come before the tunnel
			t.Errorf("the last command printed %s", out)
		}
		if path := typed(t, h, "command -v meshsec; meshsec status", ""); !strings.HasPrefix(path, "/usr/local/bin/meshsec\n") {
			t.Errorf("the command: %s", path)
		}
		token = typed(t, s.Hosts[0], "meshsec token", "")
	}
	remove(t, s.Hosts[0], "web")
	for _, h := range []*testnet.Host{s.Hosts[2], s.Hosts[1], s.Hosts[0]} {
		typed(t, h, leave, "")
		nothingLeft(t, h)
	}
}

// nothingLeft fails the test if the host has a trace of meshsec.
func nothingLeft(t *testing.T, h *testnet.Host) {
	t.Helper()
	for _, file := range []string{"/run/meshsec", "/run/docker/plugins/meshsec.sock"} {
		if _, err := os.Lstat(h.Path(file)); err == nil {
			t.Errorf("%s has %s still", h.Name, file)
		}
	}
	if left, err := h.Run(t.Context(), "sh", "-c", "ip -o link; nft list tables; docker plugin ls -q; docker network ls -q -f driver=meshsec"); err != nil ||
		regexp.MustCompile(`(?m): m[sv]|meshsec|^[0-9a-f]{12}$`).MatchString(left) {
		t.Errorf("left on %s: %v\n%s", h.Name, err, left)
	}
}

// TestSourceTree types what docs/install.md says about hosts that have the source tree, and upgrades one of them.
func TestSourceTree(t *testing.T) {
	s := own(t, 2)
	blocks := blocks(t, "docs/install.md", "From the source tree")
	if len(blocks) != 3 {
		t.Fatalf("%d blocks: one for the first host, one for others and one to upgrade are expected", len(blocks))
	}
	inTree(t, s.Hosts[0], blocks[0])
	token := inTree(t, s.Hosts[0], "meshsec token")
	inTree(t, s.Hosts[1], "install -d -m 700 /etc/meshsec\necho "+token+" >/etc/meshsec/token\n"+blocks[1])
	var all []*testnet.Container
	for _, h := range s.Hosts {
		inTree(t, h, makeNetwork)
		all = append(all, start(t, h, mesh, "on-"+h.Name))
	}
	s.reach(t, all[1], all[0].Addr)
	inTree(t, s.Hosts[1], blocks[2])
	s.reach(t, all[1], all[0].Addr)
}
