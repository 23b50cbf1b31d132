package plugin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// SocketName is the socket's file name in Docker's plugin folder; its stem is the driver's plain name.
const SocketName = "meshsec.sock"

// mountPoint is where dockerd mounts a managed plugin's own socket folder inside the plugin.
const mountPoint = "/run/docker/plugins"

// pluginRoot is what is mounted there: the plugin's folder among those of the engine's plugins.
var pluginRoot = regexp.MustCompile(`/docker/plugins/([0-9a-f]{64})$`)

// PluginID reads from a /proc/self/mountinfo which managed plugin this process is. It is empty outside a managed plugin.
func PluginID(mountinfo io.Reader) (string, error) {
	id := ""
	lines := bufio.NewScanner(mountinfo)
	lines.Buffer(nil, 1<<20) // an overlay's options name each of its layers
	for lines.Scan() {
		// 36 35 98:0 /root /mount/point options … (proc_pid_mountinfo(5)); a later line covers an earlier one
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 || fields[4] != mountPoint {
			continue
		}
		id = ""
		if match := pluginRoot.FindStringSubmatch(fields[3]); match != nil {
			id = match[1]
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("mountinfo: %w", err)
	}
	return id, nil
}

// Link is the plain-name link: dockerd finds a managed plugin only by its tagged name, but looks for a plain one in its
// folder of sockets, following links. So NAME.sock there leads to <plugin id>/NAME.sock, and `-d meshsec` works as typed.
// The link is relative: the host's /run has another place inside the plugin.
type Link struct {
	path   string
	target string
}

// NewLink is the plain-name link of managed plugin id, for a host whose /run is at run.
func NewLink(run, id string) *Link {
	return &Link{path: filepath.Join(run, "docker", "plugins", SocketName), target: filepath.Join(id, SocketName)}
}

// Make makes the link, or leaves it where it is right. What leads to nobody is replaced in one step; what leads to a
// live socket that is not ours is left alone and reported. Make may be repeated to repair the link; best once the
// plugin's socket is there, since dockerd passes over a link to nowhere.
func (l *Link) Make() error {
	target, err := os.Readlink(l.path)
	if err == nil && target == l.target {
		return nil
	}
	file, err := os.Lstat(l.path)
	switch {
	case err == nil && file.Mode().Type() != fs.ModeSocket && file.Mode().Type() != fs.ModeSymlink:
		return fmt.Errorf("plain-name link: %s is there and is no socket; remove it", l.path)
	case err == nil && live(l.path):
		return fmt.Errorf("plain-name link: %s belongs to another live plugin, so this one answers only to its tagged name", l.path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("plain-name link: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o755); err != nil {
		return fmt.Errorf("plain-name link: %w", err)
	}
	fresh := l.path + ".new" // dockerd looks only at names that end in .sock, .spec and .json
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("plain-name link: %w", err)
	}
	if err := os.Symlink(l.target, fresh); err != nil {
		return fmt.Errorf("plain-name link: %w", err)
	}
	if err := os.Rename(fresh, l.path); err != nil {
		return errors.Join(fmt.Errorf("plain-name link: %w", err), os.Remove(fresh))
	}
	return nil
}

// Remove takes the link away if it is still ours. It is for SIGTERM: a link to a socket that is gone makes dockerd look
// for 15 s each time.
func (l *Link) Remove() error {
	if target, err := os.Readlink(l.path); err != nil || target != l.target {
		return nil
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("plain-name link: %w", err)
	}
	return nil
}
