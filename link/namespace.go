package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// threadNS is the network namespace of the calling thread.
const threadNS = "/proc/thread-self/ns/net"

// openNamespace opens the namespace bound at path, or makes one and binds it there.
func openNamespace(path string) (netns.NsHandle, error) {
	bound, err := isNamespace(path)
	if err != nil {
		return netns.None(), err
	}
	if !bound {
		if err := makeNamespace(path); err != nil {
			return netns.None(), fmt.Errorf("make network namespace %s: %w", path, err)
		}
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return netns.None(), fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return ns, nil
}

// isNamespace reports whether a namespace is bound at path. After a reboot, or a crash between two steps of
// makeNamespace, there is nothing or a plain file.
func isNamespace(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return st.Type == unix.NSFS_MAGIC, nil
}

// makeNamespace makes a namespace that lives on in the bind mount when its last process has gone. The mount spreads to
// the other members of the peer group of the file system that path is on (mount_namespaces(7)): from a plugin with the
// host's /run mounted rshared, to the host.
func makeNamespace(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o400)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return onThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() error {
		return unix.Mount(threadNS, path, "", unix.MS_BIND, "")
	})
}

// inNamespace runs fn on a thread inside ns.
func inNamespace(ns netns.NsHandle, fn func() error) error {
	return onThread(func() error { return netns.Set(ns) }, fn)
}

// onThread runs enter, which changes the namespace of its thread, and then fn on a thread of their own. The thread goes
// back to Go's pool only if its former namespace is restored; else it ends with its goroutine. A panic of fn is the
// caller's.
func onThread(enter, fn func() error) (err error) {
	done := make(chan struct{})
	var panicked any
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		runtime.LockOSThread()
		var former netns.NsHandle
		if former, err = netns.GetFromPath(threadNS); err != nil {
			runtime.UnlockOSThread()
			return
		}
		defer func() {
			if netns.Set(former) == nil {
				runtime.UnlockOSThread()
			}
			_ = former.Close()
		}()
		if err = enter(); err != nil {
			err = fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = fn()
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return err
}
