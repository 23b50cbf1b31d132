package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed rootfs.sh kernel.sh packages.amd64 packages.arm64 guest
var scripts embed.FS

// cacheDir holds what takes long to make, below the source tree. It may be removed at any time.
const cacheDir = ".cache/lab"

// kernel returns a directory with vmlinuz, modules.sqsh and initrd, see kernel.sh.
func kernel(ctx context.Context, arch, version string) (string, error) {
	script, err := scripts.ReadFile("kernel.sh")
	if err != nil {
		return "", err
	}
	return cached(ctx, "kernel-"+arch+"-"+version, script, nil, arch, version)
}

// rootfs returns the file of the root file system.
func rootfs(ctx context.Context, arch string) (string, error) {
	script, err := scripts.ReadFile("rootfs.sh")
	if err != nil {
		return "", err
	}
	packages, err := scripts.ReadFile("packages." + arch)
	if err != nil {
		return "", err
	}
	dir, err := cached(ctx, "rootfs-"+arch, script, packages, arch)
	return filepath.Join(dir, "root.sqsh"), err
}

// cached returns the directory that the shell script made from these arguments and input, now or in an earlier run. $1 of
// the script is the directory to fill. What changed gets a new directory, instead of the old one; what failed leaves none.
func cached(ctx context.Context, name string, script, input []byte, args ...string) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q %q", script, args, input)
	dir := filepath.Join(cacheDir, fmt.Sprintf("%s-%x", name, sum.Sum(nil)[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return "", err
	}
	old, err := filepath.Glob(filepath.Join(cacheDir, name+"-*")) // of another state, or of a run that was killed
	if err != nil {
		return "", err
	}
	for _, o := range old {
		if err := os.RemoveAll(o); err != nil {
			return "", err
		}
	}
	work, err := os.MkdirTemp(cacheDir, name+"-new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	fmt.Printf("lab: making %s, once\n", dir)
	began := time.Now()
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", string(script), name, work}, args...)...)
	cmd.Stdin = bytes.NewReader(input)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	owned(cmd)
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, output.Bytes())
	}
	fmt.Printf("lab: made in %.0f s\n", time.Since(began).Seconds())
	return dir, os.Rename(work, dir)
}
