package main

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// wireguardVersion is what meshsec is measured against.
const wireguardVersion = "v0.0.0-20260522210424-ecfc5a8d5446"

// wireguardMTU is the inner MTU that wireguard-go sets by itself. It pads packets up to it, and does not hear of another
// one once its interface is in another namespace.
const wireguardMTU = 1420

// buildWireGuard builds wireguard-go in a module of its own in dir, so that it is no dependency of this one, and gives
// the program's path.
func buildWireGuard(ctx context.Context, dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "wireguard-go-"+wireguardVersion)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	module := "module bench\n\nrequire golang.zx2c4.com/wireguard " + wireguardVersion + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(module), 0o644); err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-trimpath", "-o", program, "golang.zx2c4.com/wireguard")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build wireguard-go: %w: %s", err, out)
	}
	return program, nil
}

// startWireGuard starts both ends of a WireGuard tunnel and moves their interfaces behind the hosts, as meshsec's are.
func (l *lab) startWireGuard(ctx context.Context, program string, s *subject) error {
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return err
		}
	}
	for i := range 2 {
		name := fmt.Sprintf("mstwg%d", i)
		c := command(ctx, hosts[i], program, "-f", name)
		c.Env = append(os.Environ(), "LOG_LEVEL=error", "WG_PROCESS_FOREGROUND=1")
		pid, err := l.start(c, "")
		if err != nil {
			return fmt.Errorf("wireguard-go: %w", err)
		}
		s.pids = append(s.pids, pid)
		if err := configureWireGuard(ctx, name, strings.Join([]string{
			"set=1", "private_key=" + hex.EncodeToString(keys[i].Bytes()), "listen_port=51820",
			"public_key=" + hex.EncodeToString(keys[1-i].PublicKey().Bytes()),
			"endpoint=" + underlayAddr[1-i] + ":51820", "allowed_ip=" + wireguardAddr[1-i] + "/32", "", "",
		}, "\n")); err != nil {
			return fmt.Errorf("wireguard-go: %w", err)
		}
		for _, args := range []string{
			fmt.Sprintf("-n %s link set %s netns %s", hosts[i], name, ends[i]),
			fmt.Sprintf("-n %s addr add %s/24 dev %s", ends[i], wireguardAddr[i], name),
			fmt.Sprintf("-n %s link set %s up", ends[i], name),
		} {
			if err := ip(ctx, args); err != nil {
				return err
			}
		}
	}
	s.client, s.server, s.addr = ends[0], ends[1], wireguardAddr[1]
	return nil
}

// configureWireGuard speaks the cross-platform userspace protocol on the interface's socket, as soon as it is there.
func configureWireGuard(ctx context.Context, name, request string) error {
	path := filepath.Join("/var/run/wireguard", name+".sock")
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := net.Dial("unix", path)
		if err == nil {
			defer c.Close()
			if _, err := io.WriteString(c, request); err != nil {
				return err
			}
			reply := make([]byte, 100)
			n, err := c.Read(reply)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(string(reply[:n]), "errno=0\n") {
				return fmt.Errorf("configure: %s", reply[:n])
			}
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
