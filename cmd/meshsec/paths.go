package main

import (
	"os"
	"path/filepath"
	"strings"
)

// paths are the places that differ between an agent inside Docker's managed plugin and one beside Docker.
type paths struct {
	run     string // the host's /run
	etc     string // the host's /etc, in the plugin
	state   string // checkpoint and embedded etcd
	plugin  string // the socket that dockerd calls
	procSys string // a writable /proc/sys
	managed bool
}

// inPlugin gives the places that config.json lays out.
func (p paths) inPlugin() paths {
	return paths{run: "/host/run", etc: "/host/etc", state: "/data", plugin: "/run/docker/plugins/meshsec.sock",
		procSys: "/host/proc/sys", managed: true}
}

// host maps a path as the operator writes it, on the host, to where this process sees it. They differ in the plugin only.
func (p paths) host(path string) string {
	if !p.managed {
		return path
	}
	for prefix, here := range map[string]string{"/run/": p.run, "/etc/": p.etc} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			return filepath.Join(here, rest)
		}
	}
	return path
}

// onHost is the reverse of host: a path of this process in the operator's words.
func (p paths) onHost(path string) string {
	if !p.managed {
		return path
	}
	if rest, ok := strings.CutPrefix(path, p.run+"/"); ok {
		return filepath.Join("/run", rest)
	}
	return path
}

func (p paths) control() string { return filepath.Join(p.run, "meshsec", "meshsec.sock") }
func (p paths) docker() string  { return filepath.Join(p.run, "docker.sock") }

// router is where the router namespace is bound. Where the host's /run is not a shared mount, a bind made in a plugin
// is not seen by the host and ends with the plugin's mounts; the plugin's own propagated mount then at least
// survives a crash. The second value says what the namespace survives, for `meshsec status`.
func (p paths) router() (path, survives string) {
	shared := filepath.Join(p.run, "meshsec", "router")
	if !p.managed || isShared("/proc/self/mountinfo", p.run) {
		return shared, "crash, disable and upgrade"
	}
	return filepath.Join(p.state, "router"), "crash; /run of this host is not a shared mount: mount --make-shared /run"
}

// isShared reads whether the mount at point propagates to a peer group (proc_pid_mountinfo(5), optional fields).
func isShared(mountinfo, point string) bool {
	b, err := os.ReadFile(mountinfo)
	if err != nil {
		return false
	}
	shared := false
	for line := range strings.SplitSeq(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 7 || f[4] != point {
			continue
		}
		shared = false
		for _, opt := range f[6:] {
			if opt == "-" {
				break
			}
			shared = shared || strings.HasPrefix(opt, "shared:")
		}
	}
	return shared
}

// sandbox is where this process finds a network namespace that Docker names by a path. Docker writes /var/run, which is a
// link to /run.
func (p paths) sandbox(key string) string {
	for _, run := range []string{"/var/run/", "/run/"} {
		if rest, ok := strings.CutPrefix(key, run); ok {
			return filepath.Join(p.run, rest)
		}
	}
	return key
}

// resolvers are the files that name the host's nameservers. In the plugin the first is the host's own, the second what
// Docker made of it at the start: /etc/resolv.conf may be a link to where this process does not see.
func (p paths) resolvers() []string {
	if !p.managed {
		return []string{"/etc/resolv.conf"}
	}
	return []string{filepath.Join(p.etc, "resolv.conf"), "/etc/resolv.conf"}
}
