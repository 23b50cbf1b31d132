package testnet

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Plugin is the managed plugin's name.
const Plugin = "meshsec/plugin"

// Build makes bin/meshsec and build/plugin, unless others do that: then they must be there.
func Build(ctx context.Context) error {
	root, err := Root()
	if err != nil {
		return err
	}
	if !buildsHere() {
		_, err := os.Stat(filepath.Join(root, "build/plugin/rootfs/meshsec"))
		return err
	}
	_, err = runLocal(ctx, root, "make", "-s", "plugin")
	return err
}

// InstallPlugin creates the managed plugin from build/plugin, sets NAME=value settings and enables it.
func (h *Host) InstallPlugin(ctx context.Context, settings ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	if _, err := h.Docker(ctx, "plugin", "create", Plugin, filepath.Join(root, "build/plugin")); err != nil {
		return err
	}
	if err := h.SetPlugin(ctx, oneMember(settings)...); err != nil {
		return err
	}
	_, err = h.Docker(ctx, "plugin", "enable", Plugin)
	return err
}

// oneMember keeps the embedded etcd on its first host, so that to stop that host's agent is to take etcd away, unless the settings say
// how many members there are to be.
func oneMember(settings []string) []string {
	const name = "ETCD_MEMBERS="
	if slices.ContainsFunc(settings, func(s string) bool { return strings.HasPrefix(s, name) }) {
		return settings
	}
	return append(slices.Clone(settings), name+"1")
}

// SetPlugin changes settings of the disabled plugin.
func (h *Host) SetPlugin(ctx context.Context, settings ...string) error {
	if len(settings) == 0 {
		return nil
	}
	_, err := h.Docker(ctx, append([]string{"plugin", "set", Plugin}, settings...)...)
	return err
}

// StartAgent runs `meshsec agent` on the host beside Docker, with its state in the host's memory. Settings are NAME=value.
func (h *Host) StartAgent(settings ...string) (*Process, error) {
	return h.startAgent(nil, settings)
}

// StartAgentUntil is StartAgent, and the agent is killed just before its n-th write to etcd, disk or kernel (see the program
// crashpoint). what tells, once the process has ended, before which; empty: it has ended otherwise.
func (h *Host) StartAgentUntil(ctx context.Context, n int, settings ...string) (p *Process, what func() string, err error) {
	tool := filepath.Join(h.cluster.dir, "crashpoint")
	if _, err := os.Stat(tool); err != nil {
		if tool, err = toolIn(ctx, h.cluster.dir, "crashpoint"); err != nil {
			return nil, nil, err
		}
	}
	log := filepath.Join(h.Dir(), "crashpoint.last")
	p, err = h.startAgent([]string{tool, "-n", strconv.Itoa(n), "-log", log, "--"}, settings)
	return p, func() string {
		text, _ := os.ReadFile(log)
		_, what, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		return what
	}, err
}

// startAgent puts words before the command.
func (h *Host) startAgent(words []string, settings []string) (*Process, error) {
	binary, err := binary()
	if err != nil {
		return nil, err
	}
	return h.startBinary(append(words, binary), settings)
}

// StartAgentFrom is StartAgent with another binary, such as that of a previous release.
func (h *Host) StartAgentFrom(binary string, settings ...string) (*Process, error) {
	return h.startBinary([]string{binary}, settings)
}

// startBinary starts the agent by the words, of which the last is the binary.
func (h *Host) startBinary(words []string, settings []string) (*Process, error) {
	settings = oneMember(settings)
	env := make([]string, len(settings))
	for i, s := range settings {
		env[i] = "MESHSEC_" + s
	}
	words = append(words, "agent", "--state", h.Data("meshsec"))
	return h.Start("agent", env, words[0], words[1:]...)
}

// Meshsec runs the command line on the host against its agent.
func (h *Host) Meshsec(ctx context.Context, args ...string) (string, error) {
	binary, err := binary()
	if err != nil {
		return "", err
	}
	return h.Run(ctx, binary, args...)
}

// MeshsecJSON runs a command with --json and decodes what it printed. The command's exit code for a degraded host is no error.
func (h *Host) MeshsecJSON(ctx context.Context, v any, command string) error {
	out, runErr := h.Meshsec(ctx, command, "--json")
	if err := json.Unmarshal([]byte(out), v); err != nil {
		return fmt.Errorf("%s: meshsec %s: %q: %w", h.Name, command, out, errorOr(runErr, err))
	}
	return nil
}

// Token is what a further host joins with; it waits for an agent that is still starting.
func (h *Host) Token(ctx context.Context) (token string, err error) {
	err = Until(ctx, 20*time.Second, func() (err error) {
		token, err = h.Meshsec(ctx, "token")
		return err
	})
	return token, err
}

// KillAgent sends sig to the host's agent, wherever it runs, and returns its process number on the machine.
func (h *Host) KillAgent(sig unix.Signal) (pid int, err error) {
	if pid, err = h.AgentPid(); err != nil {
		return 0, err
	}
	return pid, unix.Kill(pid, sig)
}

// AgentPid is the process number on the machine of the host's agent, wherever it runs.
func (h *Host) AgentPid() (int, error) {
	pids, err := h.agents()
	if err != nil {
		return 0, err
	}
	if len(pids) != 1 {
		return 0, fmt.Errorf("%s: %d agents run", h.Name, len(pids))
	}
	return pids[0], nil
}

// agents are the processes that run `meshsec agent` in the host's network namespace, as the machine numbers them.
func (h *Host) agents() (pids []int, err error) {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", h.Pid()))
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // a process that has ended meanwhile is none
		words := strings.Split(string(text), "\x00")
		if len(words) < 2 || filepath.Base(words[0]) != "meshsec" || !slices.Contains(words[1:], "agent") {
			continue
		}
		dir := filepath.Dir(file)
		if ns, _ := os.Readlink(filepath.Join(dir, "ns/net")); ns != own {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// binary is the command line that Build made.
func binary() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "bin/meshsec"), nil
}

func errorOr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}
