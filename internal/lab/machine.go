package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// machine is one virtual machine that runs one command. Neither prepare nor run may be called twice.
type machine struct {
	name    string   // its directory below runDir, and the prefix of its lines
	arch    string   // amd64 or arm64
	kernel  string   // version of Debian's cloud kernel
	cpus    int      //
	memory  string   // as QEMU takes it
	accel   string   // as QEMU takes it; empty: see accelerator
	host    string   // "1" or "2" when two are joined by wire, else empty
	wire    *os.File // this machine's end of a stream socket; closed by run
	command string   // shell script

	line    []string        // set by prepare: QEMU and its arguments
	results *sync.WaitGroup // the machines that must give their results before any of them is stopped
}

// qemu says what differs between the architectures. Taking features from the x86-64 processor is dangerous: without svm,
// for one, it no longer tells its address sizes, and the kernel then prints all paths as "xxx".
var qemu = map[string]struct {
	program, console string
	args             []string
}{
	"amd64": {"qemu-system-x86_64", "ttyS0", []string{"-cpu", "max"}},
	"arm64": {"qemu-system-aarch64", "ttyAMA0", []string{"-M", "virt", "-cpu", "max,pauth-impdef=on"}}, // without: very slow pointer authentication
}

// dir is where the machine's files are: console.log, results.tar and out.
func (m *machine) dir() string { return filepath.Join(runDir, m.name) }

// run starts the prepared machine, shows its console, and stops it when it and its like have given their results, or when
// ctx ends. The status is that of the command; an error means that there is none.
func (m *machine) run(ctx context.Context) (status int, err error) {
	console, err := os.Create(filepath.Join(m.dir(), "console.log"))
	if err != nil {
		return 0, err
	}
	defer console.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, m.line[0], m.line[1:]...)
	owned(cmd)
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Setsid = false, true // for favor
	cmd.Stderr = os.Stderr
	if m.wire != nil {
		cmd.ExtraFiles = []*os.File{m.wire}
		defer m.wire.Close()
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	favor(cmd.Process.Pid)
	finished := m.watch(io.TeeReader(output, console), func() {
		m.results.Done()
		go func() { m.results.Wait(); stop() }()
	})
	ended := cmd.Wait()
	if !finished {
		return 0, errors.Join(errors.New("the machine ended without results"), ended)
	}
	return results(m.dir())
}

// watch shows the console line by line and calls done at the line with which guest/run ends.
func (m *machine) watch(console io.Reader, done func()) (finished bool) {
	began := time.Now()
	for lines := bufio.NewScanner(console); lines.Scan(); {
		text := strings.TrimRight(lines.Text(), "\r")
		fmt.Printf("%s %5.1f  %s\n", m.name, time.Since(began).Seconds(), text)
		if !finished && strings.HasPrefix(text, "lab: status ") {
			finished = true
			done()
		}
	}
	return finished
}

// prepare writes the machine's files and its command line.
func (m *machine) prepare(ctx context.Context, tree string) error {
	kernel, err := kernel(ctx, m.arch, m.kernel)
	if err != nil {
		return err
	}
	root, err := rootfs(ctx, m.arch)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(m.dir()), os.MkdirAll(m.dir(), 0o755)); err != nil {
		return err
	}
	initrd := filepath.Join(m.dir(), "initrd")
	if err := m.writeInitrd(initrd, kernel); err != nil {
		return err
	}
	if m.accel == "" {
		var why string
		m.accel, why = accelerator(m.arch)
		fmt.Printf("lab: %s runs by %s: %s\n", m.name, m.accel, why)
	}
	q := qemu[m.arch]
	line := append([]string{q.program, "-nodefaults", "-display", "none", "-no-reboot"}, q.args...)
	// no_timer_check: a machine that waits for the host's processor fails that check, and panics.
	line = append(line, "-accel", m.accel, "-smp", fmt.Sprint(m.cpus), "-m", m.memory,
		"-kernel", filepath.Join(kernel, "vmlinuz"), "-initrd", initrd,
		"-append", "console="+q.console+" quiet panic=-1 mitigations=off nokaslr no_timer_check modprobe.blacklist=kvm_amd,powernow_k8",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-device", "virtio-serial-pci", "-chardev", "file,id=out,path="+filepath.Join(m.dir(), "results.tar"), "-device", "virtserialport,chardev=out")
	for i, disk := range []string{root, filepath.Join(kernel, "modules.sqsh"), tree} { // vda, vdb, vdc
		line = append(line, "-drive", fmt.Sprintf("if=none,id=d%d,format=raw,readonly=on,file=%s", i, disk), "-device", fmt.Sprintf("virtio-blk-pci,drive=d%d", i))
	}
	if m.wire != nil {
		line = append(line, "-netdev", "socket,id=wire,fd=3", "-device", "virtio-net-pci,netdev=wire,mac=52:54:00:00:02:0"+m.host)
	}
	m.line = line
	return nil
}

// writeInitrd puts the kernel's first modules, guest, the command and its environment together.
func (m *machine) writeInitrd(path, kernel string) error {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	env := fmt.Sprintf("TREE=%s\nLAB_HOST=%s\n", words([]string{here}), m.host)
	files := []file{{"lab/command", []byte(m.command), 0o644}, {"lab/env", []byte(env), 0o644}}
	early, err := os.ReadDir(filepath.Join(kernel, "initrd"))
	if err != nil {
		return err
	}
	for _, e := range early {
		data, err := os.ReadFile(filepath.Join(kernel, "initrd", e.Name()))
		if err != nil {
			return err
		}
		files = append(files, file{e.Name(), data, 0o755})
	}
	for from, to := range map[string]string{"guest/init": "init", "guest/run": "lab/run"} {
		data, err := scripts.ReadFile(from)
		if err != nil {
			return err
		}
		files = append(files, file{to, data, 0o755})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	w, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(writeInitrd(w, files), w.Close())
}

// owned makes the kernel kill cmd's process when this program ends, however it ends, and all that it started when its
// context ends. The signal comes at the end of the thread that starts it: the calling goroutine keeps its own from here on.
func owned(cmd *exec.Cmd) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// favor gives a session's first process a processor before the rest of this machine: guests have
// programs with time limits of their own. A kernel may have no automatic groups (sched(7)), or this
// process no right to; then the guest is only slower.
func favor(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte("-10"), 0)
}
