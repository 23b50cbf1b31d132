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

// typed types a block of a document in a shell of the host, inside the source tree, where everything installed stays the host's own.
func typed(t *testing.T, h *testnet.Host, commands, input string) (out string) {
	t.Helper()
	root, err := testnet.Root()
	if err != nil {
		t.Fatal(err)
	}
	const own = "mountpoint -q /usr/local/bin || mount -t tmpfs mst-bin /usr/local/bin; "
	// /etc/docker is the host's, all else of /etc the machine's.
	commands = strings.ReplaceAll(commands, "/etc/meshsec", "/etc/docker/meshsec")
	cmd := h.Command(t.Context(), "bash", "-ec", own+"cd "+root+"\n"+commands)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(cmd.Environ(), "DOCKER_HOST=", "DOCKER_CONTEXT=", "MAKEFLAGS=") // a user's shell has none of these
	var complaint strings.Builder
	cmd.Stderr = &complaint
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s\n%s", h.Name, err, commands, printed, complaint.String())
	}
	return strings.TrimSpace(string(printed))
}

// TestReadme: who types what the README says about real hosts, word for word, has containers on two hosts that ping each other,
// also after an upgrade, and nothing left when leaving.
func TestReadme(t *testing.T) {
	s := own(t, 2)
	blocks := blocks(t, "README.md", "Install on real hosts")
	if len(blocks) != 3 {
		t.Fatalf("%d blocks: one for the first host, one for others and one to leave are expected", len(blocks))
	}
	for i, image := range []string{"nginx", "alpine"} {
		docker(t, s.Hosts[i], []string{"tag", testnet.Image, image})
	}
	printed := strings.Split(typed(t, s.Hosts[0], blocks[0], ""), "\n")
	out := typed(t, s.Hosts[1], blocks[1], printed[len(printed)-1])
	if !strings.Contains(out, "bytes from 10.42.") { // the first one may have come before the tunnel
		t.Errorf("the last command printed %s", out)
	}
	kept := start(t, s.Hosts[1], mesh, "kept")
	typed(t, s.Hosts[1], "make upgrade", "")
	s.reach(t, kept, address(t, s.Hosts[0], mesh, "web"))
	remove(t, s.Hosts[1], kept.Name)
	remove(t, s.Hosts[0], "web")
	for _, h := range []*testnet.Host{s.Hosts[1], s.Hosts[0]} {
		typed(t, h, blocks[2], "")
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
}
