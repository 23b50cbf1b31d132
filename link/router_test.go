package link

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func TestOpenRouterFindsItAgain(t *testing.T) {
	w := newWorld(t)
	b := bridgeOf("default", "10.42.0.0/16")
	ok(t, w.r.SetBridges([]Bridge{b}))
	ok(t, w.r.Close())
	again := w.open()
	if l, err := find(again.nl, b.Name); err != nil || l == nil {
		t.Errorf("the bridge is gone with the process: %v, %v", l, err)
	}
}

func TestCase32OpenRouterOverStaleFile(t *testing.T) {
	w := newWorld(t)
	ok(t, w.r.Close())
	unmount(w.r.Path())
	if bound := must(isNamespace(w.r.Path()))(t); bound {
		t.Fatal("still bound")
	}
	r := w.open()
	if bound, err := isNamespace(r.Path()); err != nil || !bound {
		t.Errorf("bound %v, %v", bound, err)
	}
}

func TestOpenRouterRefusesTheHostsNamespace(t *testing.T) {
	w := newWorld(t)
	err := inNamespace(w.r.ns, func() error {
		_, err := OpenRouter(w.r.Path())
		return err
	})
	if err == nil {
		t.Error("the router's namespace was taken for the host's as well")
	}
}

func TestOpenRouterNamesThePath(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, "file")
	ok(t, os.WriteFile(path, nil, 0o600))
	_, err := OpenRouter(filepath.Join(path, "router"))
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names %s", err, path)
	}
}

func TestDoLeavesNoThreadBehind(t *testing.T) {
	w := newWorld(t)
	process := must(netns.GetFromPath("/proc/self/ns/net"))(t)
	defer func() { _ = process.Close() }()
	broken := errors.New("broken")
	if err := w.r.Do(func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a panic was swallowed")
			}
		}()
		_ = w.r.Do(func() error { panic("broken") })
	}()
	for range 20 {
		ok(t, w.r.Do(func() error {
			here := must(netns.GetFromPath(threadNS))(t)
			defer func() { _ = here.Close() }()
			if !here.Equal(w.r.ns) {
				t.Error("not in the router namespace")
			}
			return nil
		}))
	}
	tasks := must(filepath.Glob("/proc/self/task/*/ns/net"))(t)
	for _, task := range tasks {
		ns, err := netns.GetFromPath(task)
		if err != nil {
			continue // the thread has ended
		}
		if !ns.Equal(process) {
			t.Errorf("%s is left in another namespace", task)
		}
		_ = ns.Close()
	}
}

func TestSysctlsOfTheRouter(t *testing.T) {
	w := newWorld(t)
	ok(t, w.r.Do(func() error {
		for path, want := range map[string]string{"ipv4/ip_forward": "1", "ipv4/conf/all/rp_filter": "1", "ipv4/conf/all/send_redirects": "0"} {
			if got := must(os.ReadFile("/proc/sys/net/" + path))(t); strings.TrimSpace(string(got)) != want {
				t.Errorf("%s = %s, want %s", path, got, want)
			}
		}
		return nil
	}))
	ok(t, inNamespace(w.host, func() error {
		if got := must(os.ReadFile("/proc/sys/net/ipv4/ip_forward"))(t); strings.TrimSpace(string(got)) != "0" {
			t.Error("the host's namespace forwards, too")
		}
		return nil
	}))
}

// TestSysctlsThroughMount is how it is in a plugin: /proc/sys is read-only, the host's /proc/sys/net is mounted elsewhere.
func TestSysctlsThroughMount(t *testing.T) {
	w := newWorld(t)
	root := filepath.Join(w.dir, "sys")
	ok(t, os.MkdirAll(filepath.Join(root, "net"), 0o700))
	ok(t, unix.Mount("/proc/sys/net", filepath.Join(root, "net"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { unmount(filepath.Join(root, "net")) })
	r := &Router{procSys: root, ns: w.r.ns}
	set := sysctl{path: "net/ipv4/conf/lo/proxy_arp", value: "1"}
	ok(t, r.Do(func() error { return r.sysctl(set) }))
	ok(t, w.r.Do(func() error {
		if got := must(os.ReadFile("/proc/sys/" + set.path))(t); strings.TrimSpace(string(got)) != "1" {
			t.Error("not written to the router's namespace")
		}
		return nil
	}))

	ok(t, unix.Mount("", filepath.Join(root, "net"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	ok(t, r.Do(func() error { return r.sysctl(set) })) // as it should be: nothing to write
	set.value = "0"
	if err := r.Do(func() error { return r.sysctl(set) }); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("got %v, want what to mount", err)
	}
	if err := r.sysctl(sysctl{path: "net/none", value: "1", optional: true}); err != nil {
		t.Errorf("optional: %v", err)
	}
}

func TestSetAddr(t *testing.T) {
	w := newWorld(t)
	ok(t, w.r.SetAddr(addr("100.127.0.1")))
	w.quiet("the same address", func() error { return w.r.SetAddr(addr("100.127.0.1")) })
	lo := must(w.r.nl.LinkByName("lo"))(t)
	ok(t, w.r.nl.AddrAdd(lo, must(netlink.ParseAddr("192.0.2.9/32"))(t)))
	ok(t, w.r.SetAddr(addr("100.127.0.2")))
	got := map[string]bool{}
	for _, a := range must(w.r.nl.AddrList(lo, netlink.FAMILY_V4))(t) {
		got[a.IPNet.String()] = true
	}
	if !got["100.127.0.2/32"] || got["100.127.0.1/32"] || !got["192.0.2.9/32"] {
		t.Errorf("got %v: the former address must go, a foreign one stay", got)
	}
	if w.r.SetAddr(addr("2001:db8::1")) == nil {
		t.Error("IPv6 accepted")
	}
}
