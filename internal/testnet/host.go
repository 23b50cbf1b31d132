package testnet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Host is a test host. Methods may be called concurrently, but for those that start or stop its dockerd or agent.
type Host struct {
	Name string     // also its host name
	Addr netip.Addr // on the underlay

	space   *space
	cluster *Cluster
	mu      sync.Mutex
	dockerd *Process
}

func (c *Cluster) host(ctx context.Context, name string, addr netip.Addr) (*Host, error) {
	s, err := c.space(name)
	if err != nil {
		return nil, err
	}
	return &Host{Name: name, Addr: addr, space: s, cluster: c}, c.plug(ctx, s, addr)
}

// Dir is the host's directory on the machine. Data below it, in Data, is seen by the host only.
func (h *Host) Dir() string { return h.space.dir }

// Data is a path of the host, in its memory, for state that a real host keeps on disk.
func (h *Host) Data(name string) string { return filepath.Join(h.space.dir, "data", name) }

// WriteEtc writes a file of the host and returns its path there, below /etc.
func (h *Host) WriteEtc(name string, content []byte) (string, error) {
	return filepath.Join("/etc/docker", name), os.WriteFile(filepath.Join(h.space.dir, "etc", name), content, 0o600)
}

// Pid is the first process of the host, as the machine sees it: `nsenter -t PID -a` goes there.
func (h *Host) Pid() int { return h.space.pid() }

// Path is a path of the host as the machine sees it, such as a socket in the host's /run.
func (h *Host) Path(path string) string { return fmt.Sprintf("/proc/%d/root%s", h.Pid(), path) }

// EnterNetns runs fn on a thread inside the network namespace that is bound at a path of the host, such as its router.
func (h *Host) EnterNetns(path string, fn func() error) error { return doIn(h.Path(path), fn) }

// Enter runs fn on a thread inside the host's network namespace; sockets opened there stay in it.
func (h *Host) Enter(fn func() error) error { return h.space.do(fn) }

// Command returns a command that runs inside the host when started.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return h.space.command(ctx, name, args...)
}

// Run runs a command inside the host and returns what it printed; the error holds its complaint.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	return h.space.run(ctx, name, args...)
}

// RunRouter runs a command in the host's router namespace.
func (h *Host) RunRouter(ctx context.Context, name string, args ...string) (string, error) {
	return h.Run(ctx, "nsenter", append([]string{"--net=/run/meshsec/router", name}, args...)...)
}
