package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// documented is the plugin as the documents write it, with any tag.
var documented = regexp.MustCompile(`registry\.example\.com/meshsec/meshsec:[\w.-]+`)

// image is the plugin of a version in the registry, for this machine's architecture.
func image(version string) string {
	return "registry.example.com/meshsec/meshsec:" + version + "-" + runtime.GOARCH
}

const registryConfig = `version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: %s}}
http: {addr: ":443", tls: {certificate: %s, key: %s}}
`

// registry starts Debian's docker-registry on the outside host. The hosts find it by the name that the documents use and
// trust its certificate.
func (s *suite) registry(t *testing.T) {
	t.Helper()
	const name = "registry.example.com"
	outside, ca := s.Outside, newAuthority(t)
	cert, key := ca.issue(t, name, outside.Addr.AsSlice())
	files := map[string][]byte{"registry.pem": cert, "registry-key.pem": key}
	files["registry.yml"] = fmt.Appendf(nil, registryConfig, outside.Data("registry"),
		filepath.Join(outside.Dir(), "registry.pem"), filepath.Join(outside.Dir(), "registry-key.pem"))
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(outside.Dir(), file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := outside.Start("registry", nil, "docker-registry", "serve", filepath.Join(outside.Dir(), "registry.yml")); err != nil {
		t.Fatal(err)
	}
	for _, h := range s.Hosts {
		for _, trusted := range []string{name, outside.Addr.String()} {
			if err := os.MkdirAll(filepath.Join(h.Dir(), "etc/certs.d", trusted), 0o755); err != nil {
				t.Fatal(err)
			}
			if _, err := h.WriteEtc("certs.d/"+trusted+"/ca.crt", ca.pem); err != nil {
				t.Fatal(err)
			}
		}
		run(t, h, fmt.Sprintf("cp /etc/hosts %[1]s/hosts; echo %[2]s %[3]s >>%[1]s/hosts; mount --bind %[1]s/hosts /etc/hosts", h.Dir(), outside.Addr, name))
	}
}

// publish pushes plugins from the first host: the present one as version "present", by the scripts of make release and
// make publish, and that of the previous release as "previous".
func (s *suite) publish(t *testing.T, versions ...string) {
	t.Helper()
	root, err := testnet.Root()
	if err != nil {
		t.Fatal(err)
	}
	h, repository := s.Hosts[0], s.Outside.Addr.String()+"/meshsec/meshsec"
	for _, version := range versions {
		if version == "previous" {
			name := repository + ":previous-" + runtime.GOARCH
			docker(t, h, []string{"plugin", "create", name, previousPlugin(t)}, []string{"plugin", "push", name}, []string{"plugin", "rm", name})
			continue
		}
		release := fmt.Sprintf("VERSION=%s RELEASE=%s ", version, t.TempDir())
		// One architecture, and no list of components: that takes a minute each.
		local(t, root, "bash", "-c", release+"SBOM= ARCHES="+runtime.GOARCH+" scripts/release")
		out := run(t, h, "cd "+root+"; REGISTRY="+repository+" "+release+"scripts/publish")
		t.Logf("figure: %s", out[strings.LastIndex(out, "\n")+1:])
	}
}

// previousPlugin is the folder with the plugin of the previous release, or of the commit TESTNET_PREVIOUS. The
// laboratory, and whoever sets TESTNET_BUILT, finds it built.
func previousPlugin(t *testing.T) string {
	t.Helper()
	root, err := testnet.Root()
	if err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(root, "build/previous")
	if testnet.InLab() || os.Getenv("TESTNET_BUILT") != "" {
		if _, err := os.Stat(built); err != nil {
			t.Skip("build/previous is missing: scripts/previous makes it, in a clone with history")
		}
		return built
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "scripts/previous $TESTNET_PREVIOUS")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2 {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("scripts/previous: %v\n%s", err, out)
	}
	t.Logf("figure: %s", strings.TrimSpace(string(out)))
	return built
}

// local runs a command on this machine, in dir.
func local(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// run runs a script on the host, with Docker's own socket.
func run(t *testing.T, h *testnet.Host, script string) string {
	t.Helper()
	cmd := h.Command(t.Context(), "sh", "-ec", script)
	cmd.Env = append(cmd.Environ(), "DOCKER_HOST=", "DOCKER_CONTEXT=", "MAKEFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", h.Name, err, script, out)
	}
	return strings.TrimSpace(string(out))
}

// bare makes a host one that has Docker and nothing else, for what is typed there: no source tree, no Go, no make, and
// a /run from which nothing can be executed. /usr/local/bin is the host's own.
func bare(t *testing.T, h *testnet.Host) {
	t.Helper()
	run(t, h, `mount -o remount,bind,noexec /run
mount -t tmpfs mst-bin /usr/local/bin
mkdir `+h.Dir()+`/base
cd `+h.Dir()+`/base
for name in sh bash cat chmod cp echo grep id install ln ls mkdir mv printf rm sleep stat test timeout uname; do
	ln -s "$(command -v "$name" || echo "/usr/bin/$name")"
done
: >docker
mount --bind "$(readlink -f "$(command -v docker)")" docker`)
}

// typed types a block of a document in a shell of a bare host. It returns what was printed.
func typed(t *testing.T, h *testnet.Host, commands, input string) string {
	t.Helper()
	root, err := testnet.Root()
	if err != nil {
		t.Fatal(err)
	}
	// /etc/docker is the host's, all else of /etc the machine's.
	commands = strings.ReplaceAll(commands, "/etc/meshsec", "/etc/docker/meshsec")
	const hide = `mount -t tmpfs mst-hidden "$0"
export PATH=/usr/local/bin:$1
for name in go make git; do
	if command -v "$name"; then exit 9; fi
done
[ ! -e "$0/Makefile" ]
cd /
exec bash -ec "$2"`
	cmd := h.Command(t.Context(), "unshare", "-m", "sh", "-ec", hide, root, h.Dir()+"/base", commands)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(cmd.Environ(), "DOCKER_HOST=", "DOCKER_CONTEXT=", "HOME="+h.Dir()) // as in a user's shell
	var complaint strings.Builder
	cmd.Stderr = &complaint
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s\n%s", h.Name, err, commands, printed, complaint.String())
	}
	return strings.TrimSpace(string(printed))
}
