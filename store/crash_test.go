package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const crashEnv = "MESHSEC_TEST_CRASH_FILE"

// TestMain lets the test binary be the child that TestCheckpointSurvivesKill kills.
func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		crashChild(path)
	}
	os.Exit(m.Run())
}

// crashChild writes as fast as it can and says what was promised to be on disk. Each update has two parts that belong
// together.
func crashChild(path string) {
	c, err := OpenCheckpoint(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	start := len(c.Local().Pools)
	for n := start; ; n++ {
		err := c.Update(func(l *Local) error {
			id := fmt.Sprint(n)
			l.Pools[id] = LocalPool{ID: id}
			l.Networks["last"] = LocalNetwork{Network: id}
			return nil
		})
		if err != nil {
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

func TestCheckpointSurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "crash.db")
	for range 8 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashEnv+"="+path)
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		child.Stderr = os.Stderr
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		promised := -1
		for left := rand.N(150) + 1; lines.Scan(); left-- { // more than the journal has slots
			if left == 0 {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := fmt.Sscan(lines.Text(), &promised); err != nil {
				t.Fatal(err)
			}
		}
		_ = child.Wait()
		c := openTestCheckpoint(t, path)
		l := c.Local()
		if n := len(l.Pools); n < promised+1 || n > promised+2 {
			t.Errorf("%d pools after a kill, %d were promised", n, promised+1)
		}
		if last := fmt.Sprint(len(l.Pools) - 1); l.Networks["last"].Network != last {
			t.Errorf("half an update: last is %q, want %q", l.Networks["last"].Network, last)
		}
		c.Close()
	}
}

func TestCheckpointOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: can't mount a tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("mst-tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("can't mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	path := filepath.Join(dir, "full.db")
	c, err := OpenCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	for ; err == nil && n < 10000; n++ {
		err = c.Update(func(l *Local) error {
			id := fmt.Sprint(n)
			l.Pools[id] = LocalPool{ID: strings.Repeat(id, 100)}
			return nil
		})
	}
	if err == nil || !strings.Contains(err.Error(), "full") || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v after %d updates, want an error that names the full disk", err, n)
	}
	before := c.Local()
	if len(before.Pools) != n-1 {
		t.Errorf("%d pools in memory after %d good updates", len(before.Pools), n-1)
	}
	if c.Update(func(l *Local) error { l.Pools["x"] = LocalPool{ID: strings.Repeat("x", 1<<20)}; return nil }) == nil || c.Local() != before {
		t.Error("a failed update changed something")
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if err := c.Update(func(l *Local) error { l.Pools["room"] = LocalPool{}; return nil }); err != nil {
		t.Errorf("with room again: %v", err)
	}
	c.Close()
	c = openTestCheckpoint(t, path)
	if got := len(c.Local().Pools); got != n {
		t.Errorf("%d pools from disk, want %d", got, n)
	}
}

func TestCase14CheckpointThatIsDamagedIsRefusedAndKept(t *testing.T) {
	c, path := tempCheckpoint(t)
	local := fullLocal(t)
	mustUpdate(t, c, func(l *Local) { *l = *local })
	c.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	spot := bytes.Index(good, []byte(`"leases/`))
	if spot < 0 {
		t.Fatal("no lease in the file")
	}
	flipped := bytes.Clone(good)
	flipped[spot+3] ^= 0x20
	noise := bytes.Clone(good)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	empty := make([]byte, len(good))
	half := bytes.Clone(good)
	clear(half[len(half)/2:])
	cases := map[string][]byte{
		"one bit": flipped, "noise": noise, "zeros": empty, "text": []byte("hello\n"),
		"cut off": good[:len(good)/2], "cut to a page": good[:4096], "second half zero": half,
	}
	for what, content := range cases {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.db")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := OpenCheckpoint(path)
			if err == nil {
				if c.Local().Identity.HostID != local.Identity.HostID { // else: the damage hit nothing
					t.Error("a damaged file was taken for an empty one")
				}
				c.Close()
				return
			}
			if !strings.Contains(err.Error(), path) || !errors.Is(err, ErrDamaged) {
				t.Errorf("the error does not name the file, or is not ErrDamaged: %v", err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, content) {
				t.Errorf("the damaged file was changed: %v", err)
			}
		})
	}
}

func TestCheckpointOfANewerVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new.db")
	f, err := openFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.put(formatKey, []byte("2")); err != nil {
		t.Fatal(err)
	}
	f.close()
	if _, err := OpenCheckpoint(path); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("got %v", err)
	}
}

func TestCheckpointWithADamagedSnapshotStarts(t *testing.T) {
	c, path := tempCheckpoint(t)
	c.Close()
	if err := os.WriteFile(path+".snapshot", []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = openTestCheckpoint(t, path)
	if snap, err := c.loadSnapshot(testEnv); err != nil || !snap.Empty() {
		t.Errorf("got %v, %v", snap, err)
	}
	if _, err := os.Stat(path + ".snapshot.damaged"); err != nil {
		t.Error(err)
	}
}

func TestCheckpointsOfTwoAgentsThatStartTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "race.db")
	type result struct {
		c   *Checkpoint
		err error
	}
	results := make(chan result)
	for range 2 {
		go func() {
			c, err := OpenCheckpoint(path)
			results <- result{c, err}
		}()
	}
	var errs []error
	for range 2 {
		select {
		case r := <-results:
			if r.err != nil {
				errs = append(errs, r.err)
			} else {
				t.Cleanup(func() { r.c.Close() })
			}
		case <-time.After(patience):
			t.Fatal("stuck")
		}
	}
	if len(errs) != 1 {
		t.Errorf("got %v, want exactly one refusal", errors.Join(errs...))
	}
}
