// Command lab runs commands and compiled tests in a virtual machine whose kernel has ESP, under software emulation, and
// comes back with their exit status and files.
//
//	lab [-kernel 6.12,6.1] [-timeout 10m] -- COMMAND [ARGUMENT…]       a command, in the source tree
//	lab [-kernel …] -test ipsec/xfrm,link [-flags '-test.run X']       tests of packages, compiled outside
//	lab -pair -- COMMAND [ARGUMENT…]                                   in an x86-64 and an arm64 machine joined by a wire
//
// Inside is Debian 12 with Docker, etcd and the usual tools (packages.amd64) and the source tree, with what was built in
// it, at the same path as outside; what is written there is lost. What a command leaves in $LAB_OUT is in build/lab/NAME/out
// afterwards, next to console.log. Modules are loaded by the kernel itself, there is no udev. Nothing of this machine but
// the source tree is visible inside, and there is no network but between a pair: eth0 is 192.0.2.$LAB_HOST, the other
// end $LAB_PEER.
//
// Root file system and kernels come from Debian's archive on the first run and are kept in .cache/lab, one directory for
// each state of package list and script; remove it to get newer packages. Every program started ends with this one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	status, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		status = 125 // as env, nice and docker run: not the command's own
	}
	os.Exit(status)
}

func run() (int, error) {
	kernels := flag.String("kernel", "6.12", "Debian's cloud kernels, one machine after the other: `6.12,6.1`")
	timeout := flag.Duration("timeout", 10*time.Minute, "for each machine, from its start")
	tests := flag.String("test", "", "packages, by their directories, whose tests are run before the command: `ipsec/xfrm,link`")
	flags := flag.String("flags", "-test.v", "for the tests")
	pair := flag.Bool("pair", false, "run it in two joined machines, x86-64 and arm64")
	var one machine
	flag.IntVar(&one.cpus, "cpus", 2, "processors of a machine")
	flag.StringVar(&one.memory, "memory", "4G", "of a machine")
	flag.StringVar(&one.accel, "accel", "", "QEMU's accelerator (default kvm where it works, else tcg,thread=single)")
	flag.Parse()
	packages := strings.FieldsFunc(*tests, func(r rune) bool { return r == ',' })
	if len(packages)+flag.NArg() == 0 {
		return 0, errors.New("neither tests nor a command to run")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	unlock, err := lock()
	if err != nil {
		return 0, err
	}
	defer unlock()

	arches, machines := []string{"amd64"}, alone
	if *pair {
		arches, machines = []string{"amd64", "arm64"}, joined
	}
	commands := make(map[string]string)
	for _, arch := range arches {
		steps, err := buildTests(ctx, arch, packages, *flags)
		if err != nil {
			return 0, err
		}
		if flag.NArg() > 0 {
			steps = append(steps, words(flag.Args()))
		}
		commands[arch] = script(steps)
	}
	tree, err := packTree(ctx)
	if err != nil {
		return 0, err
	}
	last := 0
	for _, version := range strings.Split(*kernels, ",") {
		one.kernel = version
		group, err := machines(one, commands)
		if err != nil {
			return 0, err
		}
		for _, m := range group {
			if err := m.prepare(ctx, tree); err != nil {
				return 0, err
			}
		}
		status, err := together(ctx, group, *timeout)
		if err != nil {
			return 0, err
		}
		if status != 0 {
			last = status
		}
	}
	return last, nil
}

// alone is one x86-64 machine.
func alone(m machine, commands map[string]string) ([]*machine, error) {
	m.name, m.arch, m.command = m.kernel, "amd64", commands["amd64"]
	return []*machine{&m}, nil
}

// joined are an x86-64 and an arm64 machine with a wire between them.
func joined(like machine, commands map[string]string) ([]*machine, error) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	x86, arm := like, like
	x86.arch, arm.arch = "amd64", "arm64"
	x86.host, arm.host = "1", "2"
	for i, m := range []*machine{&x86, &arm} {
		m.name, m.command, m.cpus = m.kernel+"-"+m.arch, commands[m.arch], 1
		m.wire = os.NewFile(uintptr(ends[i]), "wire")
	}
	return []*machine{&x86, &arm}, nil
}

// together runs prepared machines side by side, and returns the first status that is not 0. When one fails, all end.
func together(ctx context.Context, machines []*machine, timeout time.Duration) (int, error) {
	ctx, stop := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("stopped after %s", timeout))
	defer stop()
	var results, all sync.WaitGroup
	results.Add(len(machines))
	statuses, errs := make([]int, len(machines)), make([]error, len(machines))
	for i, m := range machines {
		m.results = &results
		all.Go(func() {
			if statuses[i], errs[i] = m.run(ctx); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w; its console is in %s", m.name, errors.Join(errs[i], context.Cause(ctx)), m.dir())
				stop()
			}
		})
	}
	all.Wait()
	for i, m := range machines {
		if statuses[i] != 0 && errors.Join(errs...) == nil {
			fmt.Printf("lab: %s: status %d; console and files in %s\n", m.name, statuses[i], m.dir())
			return statuses[i], nil
		}
	}
	return 0, errors.Join(errs...)
}

// lock waits until no other run uses cacheDir and runDir.
func lock() (unlock func(), err error) {
	if _, err := os.Stat("go.mod"); err != nil {
		return nil, errors.New("not in the root of the source tree")
	}
	if err := errors.Join(os.MkdirAll(cacheDir, 0o755), os.MkdirAll(runDir, 0o755)); err != nil {
		return nil, err
	}
	f, err := os.Create(cacheDir + "/lock")
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		fmt.Println("lab: waiting for the run that another has begun")
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			return nil, err
		}
	}
	return func() { f.Close() }, nil
}
