package store

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// damageableDisk is an ext4 of its own, mounted at the folder that it returns. fail does what a disk with a fault makes ext4 do under those who write
// to it: from then on it is read-only. mend unmounts it, checks it and mounts it again.
func damageableDisk(t *testing.T) (dir string, fail, mend func()) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("not root: can't mount a disk")
	}
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "disk")
	run := func(script string) string {
		t.Helper()
		out, err := exec.Command("sh", "-ec", script, "sh", image, dir).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run(`truncate -s 16M "$1"; mkfs.ext4 -q "$1"`)
	mount := func() error { return exec.Command("mount", "-o", "loop,errors=remount-ro", image, dir).Run() }
	if err := mount(); err != nil {
		t.Skipf("can't mount a loop device: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	fail = func() {
		device := strings.TrimPrefix(run(`findmnt -no SOURCE "$2"`), "/dev/")
		_ = os.WriteFile("/sys/fs/ext4/"+device+"/trigger_fs_error", []byte("1"), 0) // an error, for that is what it makes
		if os.WriteFile(filepath.Join(dir, "probe"), nil, 0o600) == nil {
			t.Skip("this kernel's ext4 can't be made to fail")
		}
	}
	mend = func() {
		run(`umount "$2"; e2fsck -fy "$1" >/dev/null 2>&1 || [ $? -lt 4 ]`)
		if err := mount(); err != nil {
			t.Fatal(err)
		}
	}
	return dir, fail, mend
}

// A disk that turns read-only under a running agent: what is to be noted is refused in clear words and changes nothing, what was noted is
// known in memory, and on disk when that can be used again.
func TestADiskThatTurnsReadOnly(t *testing.T) {
	dir, fail, mend := damageableDisk(t)
	path := filepath.Join(dir, "checkpoint")
	c, err := OpenCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { c.Close() }()
	mustUpdate(t, c, func(l *Local) { l.Pools["before"] = LocalPool{ID: "before"} })
	snap := &Snapshot{Revision: 7, Networks: map[string]Network{"default": testNetwork("default", "10.42.0.0/16")}}
	if err := c.saveSnapshot(testEnv, "base", snap); err != nil {
		t.Fatal(err)
	}
	fail()
	for range 2 {
		err := c.Update(func(l *Local) error { l.Pools["after"] = LocalPool{ID: "after"}; return nil })
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "read-only") {
			t.Fatalf("got %v, want an error that names a read-only disk and %s", err, path)
		}
	}
	if err := c.saveSnapshot(testEnv, "base", &Snapshot{Revision: 8}); err == nil {
		t.Error("a snapshot was saved on a disk that can't be written to")
	}
	if pools := c.Local().Pools; len(pools) != 1 {
		t.Errorf("in memory: %v", pools)
	}
	_ = c.Close()
	mend()
	c = openTestCheckpoint(t, path)
	if pools := c.Local().Pools; len(pools) != 1 || pools["before"].ID == "" {
		t.Errorf("on the mended disk: %v", pools)
	}
	if got, err := c.loadSnapshot(testEnv); err != nil || got.Revision != 7 {
		t.Errorf("the snapshot on the mended disk: %+v, %v", got, err)
	}
	mustUpdate(t, c, func(l *Local) { l.Pools["after"] = LocalPool{ID: "after"} })
}
