package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

// TestResolversOfLibc: glibc's and musl's resolvers, which ask for A and AAAA at once, find names across hosts: by Docker's
// resolver, and where resolv.conf names the service itself.
func TestResolversOfLibc(t *testing.T) {
	s := shared(t)
	dir := t.TempDir()
	for compiler, out := range map[string]string{"gcc": "glibc", "musl-gcc": "musl"} {
		flags := []string{"-O", "-o", filepath.Join(dir, out), "testdata/resolve.c"}
		if out == "musl" {
			flags = append(flags, "-static")
		}
		if text, err := exec.CommandContext(t.Context(), compiler, flags...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", compiler, err, text)
		}
	}
	conf := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+service+"\noptions timeout:2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	web := start(t, s.Hosts[1], mesh, "web")
	flags := append([]string{"-v", dir + ":/c:ro"}, useful...)
	docker := start(t, s.Hosts[0], mesh, "docker", append(flags, "--dns", service)...)
	direct := start(t, s.Hosts[0], mesh, "direct", append(flags, "-v", conf+":/etc/resolv.conf:ro")...)
	finds(t, direct, "web", web.Addr.String())
	for _, c := range []*testnet.Container{docker, direct} {
		for _, libc := range []string{"glibc", "musl"} {
			for _, name := range []string{"web", "web.default.meshsec.internal"} {
				began := time.Now()
				out, err := c.Exec(t.Context(), "/c/"+libc, name)
				if err != nil || out != web.Addr.String() {
					t.Errorf("%s, %s finds %s: %q, %v", c.Name, libc, name, out, err)
				}
				t.Logf("figure: %s, %s, %s: %d ms with docker exec", c.Name, libc, name, time.Since(began).Milliseconds())
			}
			if out, err := c.Exec(t.Context(), "/c/"+libc, "none.meshsec.internal"); err == nil {
				t.Errorf("%s, %s finds what is not there: %q", c.Name, libc, out)
			}
		}
		if out, err := c.Exec(t.Context(), "ping", "-c", "1", "-w", "5", "web.meshsec.internal"); err != nil && c == direct {
			t.Errorf("busybox: %s, %v", out, err)
		}
	}
}

// TestCase29ServicesOnInternalNetworks: without docker_gwbridge the route is the only one, and DNS is no way out: names of the world
// are refused until the container is on another network, too.
func TestCase29ServicesOnInternalNetworks(t *testing.T) {
	s := shared(t)
	for _, h := range s.Hosts[:2] {
		if _, err := h.Docker(t.Context(), with("--internal", "--ipam-opt", "meshsec.network=inner", "inner")...); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeNetwork(t, h, "inner") })
	}
	db := start(t, s.Hosts[1], "inner", "db")
	asker := start(t, s.Hosts[0], "inner", "asker", viaDocker...)
	finds(t, asker, "db", db.Addr.String())
	if out, err := asker.Exec(t.Context(), "/usr/bin/getent", "ahostsv4", "db"); err != nil || !strings.Contains(out, db.Addr.String()) {
		t.Errorf("by Docker's resolver: %q, %v", out, err)
	}
	// What is on other networks is not there.
	start(t, s.Hosts[1], mesh, "elsewhere")
	if got, err := dig(t, asker, "@"+service, "elsewhere.meshsec.internal"); err != nil || len(got) != 0 {
		t.Errorf("another network's name: %v, %v", got, err)
	}
	barred := func(want bool) {
		t.Helper()
		for _, transport := range []string{"+notcp", "+tcp"} {
			eventually(t, fmt.Sprintf("by %s, barred from the world: %v", transport, want), func() error {
				out, err := asker.Exec(t.Context(), "/usr/bin/dig", "@"+service, transport, "+tries=1", "+time=9", "stolen.secret.example.com", "TXT")
				if err == nil && strings.Contains(out, "status: REFUSED") != want {
					err = fmt.Errorf("answered %s", out)
				}
				return err
			})
		}
	}
	barred(true)
	if out, err := s.Hosts[0].Docker(t.Context(), "network", "connect", mesh, "asker"); err != nil {
		t.Fatal(out, err)
	}
	barred(false)
	if out, err := s.Hosts[0].Docker(t.Context(), "network", "disconnect", mesh, "asker"); err != nil {
		t.Fatal(out, err)
	}
	barred(true)
}

// TestTheRouteIsHandedOn: a container on two networks keeps its services when the one that had the route is disconnected,
// and asks by the other's address then.
func TestTheRouteIsHandedOn(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	if _, err := h.Docker(t.Context(), with("--ipam-opt", "meshsec.network=second", "second")...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeNetwork(t, h, "second") })
	c := start(t, h, mesh, "both", useful...)
	asksBy := func(want string) {
		t.Helper()
		eventually(t, "the services by "+want, func() error {
			out, err := c.Exec(t.Context(), "wget", "-q", "-T", "2", "-O", "-", "http://"+service+"/latest/self/container/primary_ip")
			if err == nil && out != want {
				err = fmt.Errorf("asked by %q", out)
			}
			return err
		})
	}
	asksBy(c.Addr.String())
	for _, move := range [][2]string{{"second", mesh}, {mesh, "second"}, {"second", mesh}} {
		if _, err := h.Docker(t.Context(), "network", "connect", move[0], c.Name); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Docker(t.Context(), "network", "disconnect", move[1], c.Name); err != nil {
			t.Fatal(err)
		}
		a, err := c.Attachment(t.Context(), move[0])
		if err != nil {
			t.Fatal(err)
		}
		asksBy(a.IPAddress)
	}
	if _, err := h.Docker(t.Context(), "restart", "-t", "0", c.Name); err != nil {
		t.Fatal(err)
	}
	a, err := c.Attachment(t.Context(), "second")
	if err != nil {
		t.Fatal(err)
	}
	asksBy(a.IPAddress)
	remove(t, h, c.Name)
}

// TestMetadata: Debian's wget and busybox' read a container's own metadata, and are told when a container starts elsewhere.
func TestMetadata(t *testing.T) {
	s := shared(t)
	c := start(t, s.Hosts[0], mesh, "self", append([]string{"--label", "tier=front"}, useful...)...)
	get := func(program, path string) (string, error) {
		return c.Exec(t.Context(), program, "-q", "-O", "-", "http://"+service+path)
	}
	for _, wget := range []string{"wget", "/usr/bin/wget"} {
		for path, want := range map[string]string{"/latest/self/container/primary_ip": c.Addr.String(), "/2016-07-29/self/host/name": s.Hosts[0].Name,
			"/latest/self/network/name": "default", "/latest/containers/self/host_uuid": ""} {
			eventually(t, wget+" "+path, func() error {
				out, err := get(wget, path)
				if err == nil && want != "" && out != want {
					err = fmt.Errorf("%q, want %q", out, want)
				}
				return err
			})
		}
	}
	version, err := get("wget", "/latest/version")
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		text string
		err  error
	}
	woken := make(chan answer, 1)
	go func() {
		text, err := get("wget", "/latest/version?wait=true&maxWait=60&value="+version)
		woken <- answer{text, err}
	}()
	start(t, s.Hosts[1], mesh, "new")
	if a := <-woken; a.err != nil || a.text == version {
		t.Errorf("%+v, was %s", a, version)
	}
	eventually(t, "the new container", func() error {
		out, err := c.Exec(t.Context(), "/usr/bin/wget", "-q", "-O", "-", "--header=Accept: application/json", "http://"+service+"/latest/containers/new")
		if err != nil {
			return err
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(out), &v); err != nil || v["state"] != "running" {
			return fmt.Errorf("%s: %v", out, err)
		}
		return nil
	})
}

// TestComplaint11NamesAreThereFromTheFirstMoment: the first thing that a container's first process does is to ask.
func TestComplaint11NamesAreThereFromTheFirstMoment(t *testing.T) {
	s := shared(t)
	web := start(t, s.Hosts[1], mesh, "web")
	finds(t, start(t, s.Hosts[0], mesh, "asker", useful...), "web", web.Addr.String())
	for i := range 5 {
		out, err := s.Hosts[0].Docker(t.Context(), append(append([]string{"run", "--rm", "--network", mesh}, useful...), testnet.Image,
			"/usr/bin/dig", "+short", "+tries=1", "+time=2", "@"+service, "web")...)
		if err != nil || out != web.Addr.String() {
			t.Errorf("start %d: %q, %v", i, out, err)
		}
	}
}
