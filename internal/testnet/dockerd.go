package testnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// DockerHost is the value of DOCKER_HOST by which a client on the machine reaches the host's dockerd.
func (h *Host) DockerHost() string { return "unix://" + h.socket() }

func (h *Host) socket() string { return filepath.Join(h.space.dir, "docker.sock") }

// errPanic: dockerd has ended by a panic of its own.
var errPanic = errors.New("panic")

// StartDockerd starts the host's dockerd, with further flags, and returns when it answers. Engine 20.10 panics once in hundreds of starts, while it
// makes its network drivers (libnetwork.New): then it is started again, as systemd does, but not for ever.
func (h *Host) StartDockerd(ctx context.Context, flags ...string) error {
	err := h.startDockerd(ctx, flags)
	if errors.Is(err, errPanic) {
		fmt.Fprintln(os.Stderr, "started again:", err)
		err = h.startDockerd(ctx, flags)
	}
	return err
}

func (h *Host) startDockerd(ctx context.Context, flags []string) error {
	config := filepath.Join(h.space.dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}\n"), 0o644); err != nil {
		return err
	}
	// A pid file of a killed daemon may name a living process by now, and would refuse the start.
	if _, err := h.Run(ctx, "rm", "-f", "/run/docker.pid"); err != nil {
		return err
	}
	args := append([]string{
		"--config-file", config, // not the machine's
		"--data-root", h.Data("docker"), "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid",
		"-H", h.DockerHost(), "-H", "unix:///run/docker.sock",
		"--storage-driver", "overlay2", "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--cgroup-parent", "/" + filepath.Base(h.cluster.dir) + "/" + h.Name + "/containers",
		"--bip", "192.168.1.1/24",
	}, flags...)
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
			out := p.Output()
			err := fmt.Errorf("%s: dockerd ended: %s", h.Name, tail(out, 5))
			if i := strings.LastIndex(out, "\npanic: "); i >= 0 {
				err = fmt.Errorf("%s: dockerd ended: %w: %.2000s", h.Name, errPanic, out[i+len("\npanic: "):])
			}
			return Final(err)
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
	text, err := os.ReadFile(filepath.Join(h.space.dir, "dockerd.log"))
	if err != nil {
		return err.Error()
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(line string) bool {
		return strings.Contains(line, "module=grpc") || strings.Contains(line, "io.containerd.")
	})
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
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
	return h.client(ctx, stdin, dockerClient(), args...)
}

func (h *Host) client(ctx context.Context, stdin []byte, client string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, client, args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+h.DockerHost(), "DOCKER_CONFIG="+h.cluster.dir, "DOCKER_CONTEXT=")
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	return output(cmd, h.Name, append([]string{filepath.Base(client)}, args...))
}

// dockerClient prefers the client that came with the dockerd: a much newer one may refuse its API.
func dockerClient() string {
	if dockerd, err := exec.LookPath("dockerd"); err == nil {
		client := filepath.Join(strings.Replace(filepath.Dir(dockerd), "sbin", "bin", 1), "docker")
		if _, err := os.Stat(client); err == nil {
			return client
		}
	}
	return "docker"
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
