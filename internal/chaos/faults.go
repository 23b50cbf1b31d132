package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// kind is a sort of fault.
type kind struct {
	begin, lift func(ctx context.Context, r *rig, f Fault) error // lift may be nil: the product repairs it
	takes       func(Fault) []string                             // what no other fault may take meanwhile
	words       func(Fault) string
	choose      []string                               // one of these becomes Fault.What
	draw        func(rng *rand.Rand, hosts int) string // or what this says
	spares      func(Fault) bool                       // says that this host, which alone has etcd, has to be left alone
	long        time.Duration                          // it may last this many times longer than others; 0: once
	kernel      bool                                   // only where the kernel's data plane is in use
	lab         bool                                   // only in the laboratory
	docker      bool                                   // only where there are dockerds
	members     bool                                   // only where etcd has several members
}

// etcdPort is a match of nft(8) for requests to the embedded etcd.
const etcdPort = "tcp dport 2379"

var kinds = map[string]kind{
	"kill": {
		begin: func(ctx context.Context, r *rig, f Fault) error { return r.nodes[f.Host].stop(ctx, unix.SIGKILL) },
		lift:  func(_ context.Context, r *rig, f Fault) error { return r.nodes[f.Host].start() },
		takes: agent, words: about("agent of %s killed with -9, then started"),
	},
	"restart": {
		begin: func(ctx context.Context, r *rig, f Fault) error { return r.nodes[f.Host].stop(ctx, unix.SIGTERM) },
		lift:  func(_ context.Context, r *rig, f Fault) error { return r.nodes[f.Host].start() },
		takes: agent, words: about("agent of %s stopped in order, then started"),
	},
	"pause": {
		begin: func(_ context.Context, r *rig, f Fault) error { return r.nodes[f.Host].process.Pause() },
		lift:  func(ctx context.Context, r *rig, f Fault) error { return r.nodes[f.Host].process.Resume(ctx) },
		takes: agent, words: about("agent of %s paused (SIGSTOP)"),
	},
	"rekey": {
		begin: func(ctx context.Context, r *rig, f Fault) error { r.nodes[f.Host].rekey(ctx); return nil },
		takes: nothing, words: about("%s makes new keys with all its peers"),
	},
	"partition": {
		begin: func(ctx context.Context, r *rig, f Fault) error { return r.cut(ctx, f, "", true) },
		lift:  func(ctx context.Context, r *rig, f Fault) error { return r.cut(ctx, f, "", false) },
		takes: wires, choose: []string{oneWay, bothWays},
		words: func(f Fault) string {
			return fmt.Sprintf("nothing passes from %s to %s, %s", name(f.Host), name(f.Peer), f.What)
		},
	},
	"split": {
		begin: func(ctx context.Context, r *rig, f Fault) error { return r.Split(ctx, r.groups(f)...) },
		lift:  func(ctx context.Context, r *rig, f Fault) error { return r.Split(ctx) },
		takes: func(Fault) []string { return []string{"split"} },
		draw:  drawGroups, long: 3,
		words: func(f Fault) string { return "nothing passes between " + f.What },
	},
	"churn": {
		begin: beginChurn, lift: endChurn, long: 2,
		takes: func(f Fault) []string { return []string{"containers " + name(f.Host)} },
		words: about("containers come and go on %s"),
	},
	"dockerd": {
		begin: killDockerd, lift: startDockerd, takes: dockerdOf, docker: true,
		words: about("dockerd of %s killed with -9, then started"),
	},
	"cable": {
		begin: func(ctx context.Context, r *rig, f Fault) error { return r.SetPort(ctx, r.nodes[f.Host].host, false) },
		lift:  func(ctx context.Context, r *rig, f Fault) error { return r.SetPort(ctx, r.nodes[f.Host].host, true) },
		takes: port, words: about("cable of %s pulled out"),
	},
	"etcd": {
		begin: func(ctx context.Context, r *rig, f Fault) error { return r.cutFrom(ctx, 0, etcdPort, true) },
		lift:  func(ctx context.Context, r *rig, f Fault) error { return r.cutFrom(ctx, 0, etcdPort, false) },
		takes: etcd, words: func(Fault) string { return "the founder's etcd answers nobody else" },
	},
	"member": {
		begin: func(ctx context.Context, r *rig, f Fault) error { return r.cutFrom(ctx, f.Host, bothPorts, true) },
		lift:  func(ctx context.Context, r *rig, f Fault) error { return r.cutFrom(ctx, f.Host, bothPorts, false) },
		takes: etcd, words: about("etcd's member on %s answers neither hosts nor members"), members: true, long: 2,
	},
	"quorum": {
		begin: func(ctx context.Context, r *rig, f Fault) error { return r.cutMembers(ctx, true) },
		lift:  func(ctx context.Context, r *rig, f Fault) error { return r.cutMembers(ctx, false) },
		takes: etcd, words: func(Fault) string { return "etcd's members do not reach each other" }, members: true, long: 4,
	},
	"move": {
		begin: func(ctx context.Context, r *rig, f Fault) error {
			return r.nodes[f.Host].move(ctx, r.nodes[f.Host].away)
		},
		lift: func(ctx context.Context, r *rig, f Fault) error {
			return r.nodes[f.Host].move(ctx, r.nodes[f.Host].home)
		},
		takes:  port,
		long:   4,                                         // an agent does not look at once, and then twice
		spares: func(f Fault) bool { return f.Host == 0 }, // the others find etcd by its address
		words:  about("%s has another underlay address"),
	},
	"flush": {
		begin: sabotage, takes: nothing, choose: slices.Sorted(maps.Keys(flushes)),
		words: func(f Fault) string { return fmt.Sprintf("in the router of %s: %s", name(f.Host), f.What) },
	},
	"xfrm": {
		begin: sabotage, takes: nothing, choose: slices.Sorted(maps.Keys(xfrmFlushes)), kernel: true,
		words: func(f Fault) string { return fmt.Sprintf("in the kernel of %s: %s", name(f.Host), f.What) },
	},
	"module": {
		begin: moduleGone, lift: moduleBack, takes: everyAgent, choose: slices.Sorted(maps.Keys(modules)), kernel: true, lab: true,
		words: func(f Fault) string {
			return fmt.Sprintf("the kernel loses its module %s, and the agent of %s is started anew", f.What, name(f.Host))
		},
	},
}

// machine says what there is that may be broken besides.
type machine struct{ kernel, lab, docker, members bool }

// kindNames are the kinds there are, in a fixed order.
func kindNames(m machine) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(kinds)), func(n string) bool {
		k := kinds[n]
		return k.kernel && !m.kernel || k.lab && !m.lab || k.docker && !m.docker || k.members && !m.members
	})
}

const oneWay, bothWays = "one way", "nor back"

// flushes are what somebody does to the router's tables, as a script that runs there. Each device may be away just then.
var flushes = map[string]string{
	"routes flushed":         "ip route flush proto 109",
	"addresses flushed":      "for l in $(ls /sys/class/net | grep ^br-); do ip addr flush dev $l; done",
	"router address removed": "ip addr flush dev lo scope global",
	"neighbours flushed":     "ip neigh flush all",
	"tunnels set down":       "for l in $(ls /sys/class/net | grep -E '^(mesh0|ms-)'); do ip link set $l down; done",
	"bridges set down":       "for l in $(ls /sys/class/net | grep ^br-); do ip link set $l down; done",
	"ports set down":         "for l in $(ls /sys/class/net | grep ^mv); do ip link set $l down; done",
	"bridges deleted":        "for l in $(ls /sys/class/net | grep ^br-); do ip link del $l; done",
	"tunnels deleted":        "for l in $(ls /sys/class/net | grep -E '^(mesh0|ms-)'); do ip link del $l; done",
}

// xfrmFlushes run in the host's namespace.
var xfrmFlushes = map[string]string{
	"states flushed":   "ip xfrm state flush",
	"policies flushed": "ip xfrm policy flush",
	"both flushed":     "ip xfrm state flush; ip xfrm policy flush",
}

func sabotage(ctx context.Context, r *rig, f Fault) error {
	h := r.nodes[f.Host].host
	if script, ok := xfrmFlushes[f.What]; ok {
		_, err := h.Run(ctx, "sh", "-c", script)
		return err
	}
	// /sys shows the network namespace that it was mounted from.
	const inside = "mount -t sysfs none /sys; (%s) 2>/dev/null; true"
	_, err := h.Run(ctx, "unshare", "-m", "nsenter", "--net=/run/meshsec/router", "sh", "-c", fmt.Sprintf(inside, flushes[f.What]))
	return err
}

func about(format string) func(Fault) string {
	return func(f Fault) string { return fmt.Sprintf(format, name(f.Host)) }
}

func nothing(Fault) []string { return nil }
func agent(f Fault) []string { return []string{"agent " + name(f.Host)} }
func port(f Fault) []string  { return []string{"port " + name(f.Host)} }
func etcd(Fault) []string    { return []string{"etcd"} }
