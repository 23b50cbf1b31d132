package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// page is boltdb's on this machine: it writes whole ones, the pages of data first, then one of the two with the root, with an fsync
// between.
var page = os.Getpagesize()

// TestCheckpointTornAnywhere cuts off the writes of an update at every byte of every page, as a machine does that loses its power:
// what is read is the state before the update or after it, whole.
func TestCheckpointTornAnywhere(t *testing.T) {
	c, path := tempCheckpoint(t)
	local := fullLocal(t)
	mustUpdate(t, c, func(l *Local) { *l = *local })
	before := readAll(t, path)
	mustUpdate(t, c, func(l *Local) {
		l.Pools["torn"] = LocalPool{ID: "torn"}
		l.Networks["torn"] = LocalNetwork{Network: "torn"}
	})
	after := readAll(t, path)
	c.Close()
	before = append(before, make([]byte, len(after)-len(before))...) // it grows before anything is written
	torn := filepath.Join(t.TempDir(), "torn.db")
	image, points, old := bytes.Clone(before), 0, 0
	for _, at := range changedPages(before, after) {
		for n := at; n < at+page; n++ {
			if image[n] == after[n] {
				continue
			}
			image[n] = after[n] // the first bytes of this page and all of those before are on the disk
			points++
			switch readsAs(t, torn, image, local) {
			case "before":
				old++
			case "after":
			default:
				t.Fatalf("cut off at byte %d of page %d: half an update", n-at, at/page)
			}
		}
	}
	if !bytes.Equal(image, after) {
		t.Error("not all of the writes are known")
	}
	t.Logf("figure: %d torn writes, %d of them read as before the update", points, old)
	if points < 100 || old == 0 || old == points {
		t.Errorf("%d points, %d of them before", points, old)
	}
}

// changedPages are where pages begin that differ, those with the root last.
func changedPages(before, after []byte) (data []int) {
	var roots []int
	for at := 0; at < len(after); at += page {
		switch same := bytes.Equal(before[at:at+page], after[at:at+page]); {
		case same:
		case at < 2*page:
			roots = append(roots, at)
		default:
			data = append(data, at)
		}
	}
	return append(data, roots...)
}

// readsAs says what a start finds in a file of this content.
func readsAs(t *testing.T, path string, content []byte, before *Local) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := withFaults(func() (*file, error) { return openFile(path, nil) })
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	j, err := openJournal(f)
	if err != nil {
		t.Fatal(err)
	}
	l, err := decodeLocal(j.values)
	if err != nil {
		t.Fatal(err)
	}
	_, pool := l.Pools["torn"]
	_, network := l.Networks["torn"]
	extra := 0
	if pool && network {
		extra = 1
	}
	switch {
	case pool != network || len(l.Leases) != len(before.Leases) || len(l.Pools) != len(before.Pools)+extra:
		return "half"
	case pool:
		return "after"
	}
	return "before"
}

func readAll(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRestsOfACrashAreRemoved: an agent that is killed while it makes a file leaves it under another name, and secrets may be in it.
func TestRestsOfACrashAreRemoved(t *testing.T) {
	c, path := tempCheckpoint(t)
	c.Close()
	others := []string{path + ".backup", filepath.Join(filepath.Dir(path), "another.db.new-1")}
	for _, name := range append([]string{path + ".new-123", path + ".snapshot.new-45"}, others...) {
		if err := os.WriteFile(name, []byte("rest"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openTestCheckpoint(t, path).Close()
	left, err := filepath.Glob(path + "*.new-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, name := range others {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("not the checkpoint's, and removed: %v", err)
		}
	}
}
