package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// modules are parts of the kernel that a host may lack, by what an agent says is missing then.
var modules = map[string][]string{
	"esp4": {"esp4"},
}

// withheld keeps modules from being loaded, as if they were not installed.
const withheld = "/etc/modprobe.d/mst-withheld.conf"

// moduleGone unloads a module of the kernel, which all hosts share, and starts the agent of one of them anew: it has to do without,
// and to say so. The others' agents sleep until the module has gone, for they would use it again at once.
func moduleGone(ctx context.Context, r *rig, f Fault) error {
	n := r.nodes[f.Host]
	if err := n.stop(ctx, unix.SIGTERM); err != nil {
		return err
	}
	var unload strings.Builder
	var conf strings.Builder
	unload.WriteString(`gone() { [ ! -d /sys/module/$1 ] || { for m in $(ls /sys/module/$1/holders); do gone $m; done; rmmod $1; }; }` + "\n")
	for _, m := range modules[f.What] {
		fmt.Fprintf(&unload, "gone %s || exit\n", m)
		fmt.Fprintf(&conf, "install %s /bin/false\n", m)
	}
	if err := os.WriteFile(withheld, []byte(conf.String()), 0o644); err != nil {
		return err
	}
	others := func(do func(*testnet.Process) error) error {
		var errs []error
		for _, other := range r.nodes {
			if other != n {
				errs = append(errs, do(other.process))
			}
		}
		return errors.Join(errs...)
	}
	wake := func(p *testnet.Process) error { return p.Resume(ctx) }
	err := testnet.Until(ctx, time.Minute, func() error {
		if err := others((*testnet.Process).Pause); err != nil {
			return testnet.Final(err)
		}
		for _, n := range r.nodes {
			if _, err := n.host.Run(ctx, "sh", "-c", "ip xfrm policy flush; ip xfrm state flush"); err != nil {
				return testnet.Final(errors.Join(err, others(wake)))
			}
		}
		out, err := exec.CommandContext(ctx, "sh", "-c", unload.String()).CombinedOutput()
		if err != nil { // one that begins has an SA in a namespace of its own, to see whether that works, and has to come to its end
			err = errors.Join(fmt.Errorf("unload %s: %w: %s", f.What, err, out), others(wake))
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := others(wake); err != nil {
		return err
	}
	return errors.Join(n.start(), n.says(ctx, func(s control.Status) bool {
		return s.DataPlane == "userspace" && strings.Contains(s.DataPlaneReason, f.What)
	}))
}

// moduleBack lets the module be loaded again. The host's agent takes what is best when it starts; the others never gave up.
func moduleBack(ctx context.Context, r *rig, f Fault) error {
	if err := os.Remove(withheld); err != nil {
		return err
	}
	n := r.nodes[f.Host]
	if err := n.stop(ctx, unix.SIGTERM); err != nil {
		return err
	}
	return errors.Join(n.start(), n.says(ctx, func(s control.Status) bool { return s.DataPlane == "kernel" }))
}

// says waits until the agent's status is as it should be.
func (n *node) says(ctx context.Context, fit func(control.Status) bool) error {
	return testnet.Until(ctx, 30*time.Second, func() error {
		var s control.Status
		if err := n.control.Get(ctx, "status", &s); err != nil {
			return err
		}
		if !fit(s) {
			return fmt.Errorf("data plane %s: %s", s.DataPlane, s.DataPlaneReason)
		}
		return nil
	})
}

// everyAgent is what faults take that befall the kernel of all hosts.
func everyAgent(Fault) (all []string) {
	for i := range maxHosts {
		all = append(all, agent(Fault{Host: i})...)
	}
	return all
}
