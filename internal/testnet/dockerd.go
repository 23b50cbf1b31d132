package testnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/engines"
)

// DockerHost is the value of DOCKER_HOST by which a client on the machine reaches the host's dockerd.
func (h *Host) DockerHost() string { return "unix://" + h.socket() }

func (h *Host) socket() string { return filepath.Join(h.space.dir, "docker.sock") }

// StartDockerd starts the host's dockerd, with further flags, and returns when it answers. A start of engine 20.10 that ended
// by that engine's own panic is repeated once.
func (h *Host) StartDockerd(ctx context.Context, flags ...string) error {
	err := h.startDockerd(ctx, flags)
	if errors.Is(err, errPanic) && h.cluster.engine.Name == engines.Old {
		repeated(err)
		err = h.startDockerd(ctx, flags)
	}
	return err
}

// Firewall is the flag that has dockerd write its rules by iptables or nftables. It overrides the engine's own choice.
func Firewall(backend string) string { return "--firewall-backend=" + backend }

// config writes the host's daemon.json and prepares the host for the engine's firewall backend.
func (h *Host) config(ctx context.Context) (file string, flags []string, err error) {
	content := "{}"
	if h.cluster.engine.Name == engines.Nftables {
		flags = []string{Firewall("nftables")}
		// With nftables dockerd leaves forwarding to the administrator and refuses to start while it is off.
		if _, err := h.Run(ctx, "sysctl", "-qw", "net.ipv4.ip_forward=1"); err != nil {
			return "", nil, err
		}
		content = `{"features": {"swarm-nftables": true}}` // without it dockerd refuses a Swarm
	}
	file = filepath.Join(h.space.dir, "daemon.json")
	return file, flags, os.WriteFile(file, []byte(content+"\n"), 0o644)
}

func (h *Host) startDockerd(ctx context.Context, flags []string) error {
	config, backend, err := h.config(ctx)
	if err != nil {
		return err
	}
	// A pid file of a killed daemon may name a living process by now, and would refuse the start.
	if _, err := h.Run(ctx, "rm", "-f", "/run/docker.pid"); err != nil {
		return err
	}
	args := slices.Concat([]string{
		"--config-file", config, // not the machine's
		"--data-root", h.Data("docker"), "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid",
		"-H", h.DockerHost(), "-H", "unix:///run/docker.sock",
		"--storage-driver", "overlay2", "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--cgroup-parent", "/" + filepath.Base(h.cluster.dir) + "/" + h.Name + "/containers",
		"--bip", "192.168.1.1/24", "--userland-proxy-path", filepath.Join(h.cluster.programs(), "docker-proxy"),
	}, backend, flags)
	before := h.dockerdLog() // of earlier dockerds
	p, err := h.Start("dockerd", []string{"DOCKER_RAMDISK=1"}, "dockerd", args...)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.dockerd = p
	h.mu.Unlock()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", h.socket())
		},
	}}
	return Until(ctx, 90*time.Second, func() error {
		select {
		case <-p.Done():
			return Final(ended(h.Name, p.Output()[len(before):]))
		default:
		}
		reply, err := client.Get("http://docker/_ping")
		if err != nil {
			return err
		}
		defer reply.Body.Close()
		if reply.StatusCode != http.StatusOK {
			return errors.New(reply.Status)
		}
		return nil
	})
}

// StopDockerd sends sig (SIGTERM or SIGKILL) to the dockerd and waits for its end.
func (h *Host) StopDockerd(ctx context.Context, sig unix.Signal) error {
	h.mu.Lock()
	p := h.dockerd
	h.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.Stop(ctx, sig)
}

// DockerdLog is the last n lines that the host's dockerds and managed plugins have logged, without the chatter about their parts.
func (h *Host) DockerdLog(n int) string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(h.dockerdLog()), "\n"), func(line string) bool {
		return strings.Contains(line, "module=grpc") || strings.Contains(line, "io.containerd.")
	})
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// dockerdLog is all that the host's dockerds and managed plugins have logged.
func (h *Host) dockerdLog() string {
	text, _ := os.ReadFile(filepath.Join(h.space.dir, "dockerd.log")) // before the first dockerd there is none
	return string(text)
}

// Docker runs the docker client against the host.
func (h *Host) Docker(ctx context.Context, args ...string) (string, error) {
	return h.docker(ctx, nil, args...)
}

// Compose runs docker-compose against the host.
func (h *Host) Compose(ctx context.Context, args ...string) (string, error) {
	return h.client(ctx, nil, "docker-compose", args...)
}

func (h *Host) docker(ctx context.Context, stdin []byte, args ...string) (string, error) {
	return h.client(ctx, stdin, "docker", args...)
}

func (h *Host) client(ctx context.Context, stdin []byte, client string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(h.cluster.programs(), client), args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+h.DockerHost(), "DOCKER_CONFIG="+h.cluster.dir, "DOCKER_CONTEXT=")
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	return output(cmd, h.Name, append([]string{client}, args...))
}

// Inspect decodes `docker inspect` of one object (a container, or with kind "network" a network) into v.
func (h *Host) Inspect(ctx context.Context, kind, name string, v any) error {
	text, err := h.Docker(ctx, "inspect", "--type", kind, "--format", "{{json .}}", name)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), v)
}

// tail is the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
