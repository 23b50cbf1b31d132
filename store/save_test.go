package store

import (
	"testing"
	"time"
)

// The first list is saved without the pause between saves, and with it what followed it at once.
func TestSnapshotIsSavedSoonAfterTheFirstList(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA)
	a.SetHost(Host{Name: "alpha"})
	a.await(t, "its own fact", func(snap *Snapshot) bool { _, ok := snap.Hosts[hostA]; return ok })
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(saveEvery * 3 / 4) // the next save is later
	for {
		saved, err := a.cp.loadSnapshot(testEnv)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := saved.Hosts[hostA]; ok {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("saved: %+v", saved)
		}
	}
}

// What this host has saved in another environment of the same name must not keep it from the one that it is in now.
func TestSnapshotOfAnotherAuthorityIsRefused(t *testing.T) {
	s := embeddedServer(t)
	a := s.join(t, hostA)
	if err := a.Found(callCtx(t)); err != nil {
		t.Fatal(err)
	}
	a.await(t, "the authority", func(snap *Snapshot) bool { return snap.CA != nil })
	a.stop()
	if saved, err := a.cp.loadSnapshot(testEnv); err != nil || !saved.FromDisk || saved.CA == nil {
		t.Fatalf("its own: %+v, %v", saved, err)
	}
	other, err := FoundIdentity(testEnv, hostA, "alpha")
	if err != nil {
		t.Fatal(err)
	}
	for what, id := range map[string]Identity{"another authority": other, "none": {}} {
		mustUpdate(t, a.cp, func(l *Local) { l.Identity = id })
		if saved, err := a.cp.loadSnapshot(testEnv); err == nil {
			t.Errorf("%s: got %+v", what, saved)
		}
	}
	mustUpdate(t, a.cp, func(l *Local) { l.Identity = other })
	b, err := Open(s.config(t, hostA), a.cp, quietLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !b.Snapshot().Empty() {
		t.Error("the other environment's facts are taken for this one's")
	}
}
