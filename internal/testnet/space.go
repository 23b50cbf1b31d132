package testnet

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/settings"
)

//go:embed init.sh
var initScript string

// space is a set of namespaces (network, mount, UTS, processes), held by its first process.
type space struct {
	name string
	dir  string // on the machine's disk; empty once closed
	path string // where its commands' programs are looked for first
	init *exec.Cmd
	hold *os.File // closing it ends the space
}

// newSpace starts the first process and returns when its mounts are in place.
func newSpace(name, dir, group string) (*space, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	pipe, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer pipe.Close()
	cmd := exec.Command("/bin/sh", "-c", initScript, "mst-init")
	cmd.Env = append(os.Environ(), "D="+dir, "NAME="+name, "GROUP="+group)
	cmd.Stdin = pipe
	var errText strings.Builder
	cmd.Stderr = &errText
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWPID,
		Setsid:     true, // Ctrl-C must reach this program only, which then closes in order
	}
	if err := cmd.Start(); err != nil {
		hold.Close()
		return nil, fmt.Errorf("namespaces of %s: %w", name, err)
	}
	s := &space{name: name, dir: dir, init: cmd, hold: hold}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		s.close()
		return nil, fmt.Errorf("namespaces of %s: %w: %s", name, errors.Join(err), strings.TrimSpace(errText.String()))
	}
	return s, os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(s.pid())), 0o644)
}

// pid is that of the first process, as this program sees it.
func (s *space) pid() int { return s.init.Process.Pid }

// close ends every process of the space; the kernel removes its mounts, links and namespaces.
func (s *space) close() {
	s.hold.Close()
	_ = s.init.Process.Kill()
	_ = s.init.Wait()
}

// stay lets the space outlive this program.
func (s *space) stay() error {
	_, err := io.WriteString(s.hold, "stay\n")
	return err
}

// command returns a command that runs inside the space when started. It has a process group of its own, all of which ends with ctx.
// Who adds to its environment must keep its Environ.
func (s *space) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := append([]string{"-t", strconv.Itoa(s.pid()), "-m", "-u", "-n", "-p", "--", name}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", enter...)
	cmd.Env = s.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	return cmd
}

// environ is this program's environment for commands inside the space. Variables for the tests would be settings of an agent.
func (s *space) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, settings.Prefix) })
	if s.path != "" {
		env = append(env, "PATH="+s.path+":"+os.Getenv("PATH"))
	}
	return env
}

// run runs a command inside the space and returns what it printed. The error holds what it complained about.
func (s *space) run(ctx context.Context, name string, args ...string) (string, error) {
	return output(s.command(ctx, name, args...), s.name, append([]string{name}, args...))
}

// do runs fn on a thread inside the space's network namespace; sockets made there stay in it.
func (s *space) do(fn func() error) error { return doIn(fmt.Sprintf("/proc/%d/ns/net", s.pid()), fn) }

// doIn runs fn on a thread inside the network namespace that the file stands for.
func doIn(path string, fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine, tainted as it is
		file, err := os.Open(path)
		if err != nil {
			result <- err
			return
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("network namespace %s: %w", path, err)
			return
		}
		result <- fn()
	}()
	return <-result
}

// output runs cmd and returns its trimmed standard output.
func output(cmd *exec.Cmd, where string, what []string) (string, error) {
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(complaint.String())
		if text == "" {
			text = strings.TrimSpace(out.String())
		}
		return strings.TrimSpace(out.String()), fmt.Errorf("%s: %s: %w: %s", where, strings.Join(what, " "), err, text)
	}
	return strings.TrimSpace(out.String()), nil
}
