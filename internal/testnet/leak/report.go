package leak

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Flow is a summary of the frames of one kind. Sizes are in bytes, with the Ethernet header.
type Flow struct {
	Name          string
	Frames, Bytes int
	Min, Max      int
}

// Flows are the kinds of frames seen until now, the largest first.
func (w *Watch) Flows() []Flow {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Flow
	for _, f := range w.flows {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b Flow) int {
		if a.Bytes != b.Bytes {
			return b.Bytes - a.Bytes
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// RecentESP are the last ESP frames, whole, with the Ethernet header.
func (w *Watch) RecentESP() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.recent)
}

// Leaks are the frames, of those sent since then, that should not have crossed.
func (w *Watch) Leaks(since time.Time) []Leak {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.leaks), func(l Leak) bool { return l.At.Before(since) })
}

// String is the reason and a dump of the frame.
func (l Leak) String() string {
	return fmt.Sprintf("%s at %s:\n%s", l.Why, l.At.Format("15:04:05.000"), hex.Dump(l.Frame))
}

// Check, called first in a test, fails that test at its end when a frame crossed meanwhile that should not have.
func (w *Watch) Check(t testing.TB) {
	t.Helper()
	since := time.Now()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.Sync(ctx); err != nil {
			t.Error(err)
		}
		leaks := w.Leaks(since)
		for _, l := range leaks[:min(len(leaks), 5)] {
			t.Errorf("leak: %s", l)
		}
		if len(leaks) > 5 {
			t.Errorf("leak: and %d more frames", len(leaks)-5)
		}
	})
}
