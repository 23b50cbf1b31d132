package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// service is where containers find DNS and metadata.
const service = "169.254.169.250"

// useful mounts this machine's own programs and libraries into a container: dig, wget and glibc's resolver as Debian has them.
var useful = []string{"-v", "/usr:/usr:ro", "-v", "/usr/lib:/lib:ro", "-v", "/usr/lib64:/lib64:ro"}

// viaDocker asks Docker's own resolver, which passes on what it does not know.
var viaDocker = append([]string{"--dns", service}, useful...)

// dig asks in a container; the lines are sorted.
func dig(t *testing.T, c *testnet.Container, words ...string) (lines []string, err error) {
	t.Helper()
	out, err := c.Exec(t.Context(), append([]string{"/usr/bin/dig", "+short", "+tries=1", "+time=3"}, words...)...)
	lines = strings.Fields(strings.ReplaceAll(out, `"`, ""))
	slices.Sort(lines)
	return lines, err
}

// finds waits until a name has these addresses, for one who asks the service itself.
func finds(t *testing.T, c *testnet.Container, name string, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, fmt.Sprintf("%s finds %s at %v", c.Name, name, want), func() error {
		got, err := dig(t, c, "@"+service, name)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("found %v", got)
		}
		return err
	})
}

// TestCase29NamesAcrossHosts: a container finds those on other hosts by every kind of name, by Docker's resolver and without it, from
// its mesh address, also on an internal network; names appear and go with their containers.
func TestCase29NamesAcrossHosts(t *testing.T) {
	s := shared(t)
	a, b := s.Hosts[0], s.Hosts[1]
	web := start(t, b, mesh, "web", "--network-alias", "www", "--label", "com.docker.compose.service=front",
		"--label", "com.docker.compose.project=shop", "--expose", "80", "--label", "meshsec.srv.http=80")
	asker := start(t, a, mesh, "asker", viaDocker...)
	addr := web.Addr.String()
	for _, name := range []string{"web", "www", "front", "front.shop", "tasks.front", "web.default.meshsec.internal", "www.meshsec.internal", "front.shop.meshsec.internal"} {
		finds(t, asker, name, addr)
		if got, err := dig(t, asker, name); err != nil || !slices.Equal(got, []string{addr}) {
			t.Errorf("by Docker's resolver: %s: %v, %v", name, got, err)
		}
	}
	finds(t, asker, b.Name+".host.meshsec.internal", b.Addr.String())
	for words, want := range map[string]string{
		"-x " + addr:         "web.default.meshsec.internal.",
		"_http._tcp.web SRV": "0 1 80 web.default.meshsec.internal.",
		"+tcp web":           addr,
		"+noedns web":        addr,
		"web AAAA":           "",
		"_age.meshsec.internal TXT +noall +answer": "age=0",
	} {
		got, err := dig(t, asker, append([]string{"@" + service}, strings.Fields(words)...)...)
		wanted := strings.Fields(want)
		for _, w := range wanted {
			if !slices.Contains(got, w) {
				err = errors.Join(err, fmt.Errorf("no %s", w))
			}
		}
		if err != nil || len(wanted) == 0 && len(got) != 0 {
			t.Errorf("dig %s: %v, %v", words, got, err)
		}
	}
	if out, err := asker.Exec(t.Context(), "/usr/bin/getent", "ahostsv4", "web"); err != nil || !strings.Contains(out, addr) {
		t.Errorf("glibc's resolver: %q, %v", out, err)
	}
	if out, err := asker.Exec(t.Context(), "ping", "-c", "1", "web"); err != nil {
		t.Errorf("ping web: %q, %v", out, err)
	}
	out, err := a.Meshsec(t.Context(), "dns", "web", "--from", "asker")
	if err != nil || !strings.Contains(out, addr) || !strings.Contains(out, "host "+b.Name) {
		t.Errorf("meshsec dns web: %q, %v", out, err)
	}
	remove(t, b, "web")
	finds(t, asker, "web.meshsec.internal")
	if got, err := asker.Exec(t.Context(), "/usr/bin/dig", "@"+service, "web.meshsec.internal"); err != nil || !strings.Contains(got, "NXDOMAIN") || !strings.Contains(got, "SOA") {
		t.Errorf("a name that is gone: %s, %v", got, err)
	}
	again := start(t, s.Hosts[2], mesh, "web")
	finds(t, asker, "web", again.Addr.String())
}
