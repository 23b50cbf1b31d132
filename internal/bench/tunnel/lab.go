package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// The namespaces: two hosts and the two ends behind their tunnels.
const prefix = "mst-bench-"

var hosts, ends = [2]string{prefix + "ha", prefix + "hb"}, [2]string{prefix + "ra", prefix + "rb"}

// The addresses of the two sides: underlay, meshsec's inner ones, wireguard-go's inner ones.
var underlayAddr, meshsecAddr, wireguardAddr = [2]string{"192.0.2.1", "192.0.2.2"}, [2]string{"100.127.0.1", "100.127.0.2"}, [2]string{"100.127.1.1", "100.127.1.2"}

// lab is the namespaces and the processes in them.
type lab struct{ started []*exec.Cmd }

// newLab makes the namespaces. It returns a lab to close also with an error.
func newLab(ctx context.Context) (*lab, error) {
	l := &lab{}
	for _, ns := range []string{hosts[0], hosts[1], ends[0], ends[1]} {
		if err := ip(ctx, "netns add "+ns); err != nil {
			return l, err
		}
		if err := ip(ctx, "-n "+ns+" link set lo up"); err != nil {
			return l, err
		}
	}
	if err := ip(ctx, fmt.Sprintf("link add ul0 netns %s type veth peer name ul0 netns %s", hosts[0], hosts[1])); err != nil {
		return l, err
	}
	for i, ns := range hosts {
		if err := ip(ctx, fmt.Sprintf("-n %s addr add %s/24 dev ul0", ns, underlayAddr[i])); err != nil {
			return l, err
		}
		if err := ip(ctx, "-n "+ns+" link set ul0 up"); err != nil {
			return l, err
		}
	}
	return l, nil
}

// close stops the processes and deletes the namespaces.
func (l *lab) close() error {
	var errs []error
	for _, c := range l.started {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	}
	for _, ns := range []string{hosts[0], hosts[1], ends[0], ends[1]} {
		if _, err := os.Stat("/run/netns/" + ns); err == nil {
			errs = append(errs, ip(context.Background(), "netns del "+ns))
		}
	}
	return errors.Join(errs...)
}

func ip(ctx context.Context, args string) error {
	if out, err := exec.CommandContext(ctx, "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

// command is a command in a namespace. `ip netns exec` becomes the command, so the process ID is its own.
func command(ctx context.Context, ns, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns, name}, args...)...)
}

// start starts a tunnel's process and waits for the line that says it is ready; none means not to wait.
func (l *lab) start(c *exec.Cmd, ready string) (pid int, err error) {
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	l.started = append(l.started, c)
	for lines := bufio.NewScanner(out); ready != ""; {
		if !lines.Scan() {
			return 0, fmt.Errorf("%s ended", c.Path)
		}
		if lines.Text() == ready {
			break
		}
	}
	return c.Process.Pid, nil
}

// startMeshsec starts both ends of a meshsec tunnel.
func (l *lab) startMeshsec(ctx context.Context, s *subject, encap string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i := range 2 {
		pid, err := l.start(command(ctx, hosts[i], self, "endpoint", "-router", "/run/netns/"+ends[i],
			"-local", underlayAddr[i]+":4500", "-remote", underlayAddr[1-i]+":4500",
			"-inner", meshsecAddr[i], "-peer", meshsecAddr[1-i], "-encap", encap), "ready")
		if err != nil {
			return fmt.Errorf("meshsec: %w", err)
		}
		s.pids = append(s.pids, pid)
	}
	s.client, s.server, s.addr = ends[0], ends[1], meshsecAddr[1]
	return nil
}

// reachable waits until the other end answers.
func (l *lab) reachable(ctx context.Context, s *subject) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if command(ctx, s.client, "ping", "-c", "1", "-W", "1", s.addr).Run() == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: %s does not answer", s.name, s.addr)
}
