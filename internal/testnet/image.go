package testnet

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Image is the name of the image that every dockerd has: busybox, and the probe as /probe, which by default serves port 9000.
const Image = "bb"

// Root is the root of the source tree that the program runs in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("not inside the source tree: no go.mod above the working directory")
}

// toolIn puts one of the programs beside this package into dir: built or, where nothing is to be built, as bin has it.
func toolIn(ctx context.Context, dir, name string) (path string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", path, "./internal/testnet/"+name)
	if !buildsHere() {
		cmd = exec.CommandContext(ctx, "cp", "bin/"+name, path)
	}
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	_, err = output(cmd, name, cmd.Args)
	return path, err
}

// buildsHere reports whether the plugin and the tools are to be built. The laboratory has no Go, and
// whoever sets TESTNET_BUILT has built them (scripts/lab build) and runs several tests side by side.
func buildsHere() bool {
	_, err := exec.LookPath("go")
	return err == nil && os.Getenv("TESTNET_BUILT") == ""
}

// imageTar packs the image. Nothing comes from a registry.
func imageTar(ctx context.Context, dir string) ([]byte, error) {
	probe, err := toolIn(ctx, dir, "probe")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, name := range []string{"bin/", "dev/", "etc/", "proc/", "sys/", "tmp/"} {
		if err := archive.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	for name, path := range map[string]string{"probe": probe, "bin/busybox": busybox} {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if err := archive.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o755}); err != nil {
			return nil, err
		}
		if _, err := archive.Write(content); err != nil {
			return nil, err
		}
	}
	for _, applet := range []string{"sh", "ip", "ping", "cat", "sleep", "wget", "nslookup", "ls"} {
		link := &tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}
		if err := archive.WriteHeader(link); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), archive.Close()
}

// importImage gives the host's dockerd the image.
func (h *Host) importImage(ctx context.Context, image []byte) error {
	_, err := h.docker(ctx, image, "import", "--change", `CMD ["/probe","serve"]`, "-", Image)
	return err
}
