package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCached(t *testing.T) {
	t.Chdir(t.TempDir())
	script := []byte(`cat >$1/input; echo $2 >$1/argument; echo made >>made`)
	first, err := cached(t.Context(), "thing", script, []byte("one"), "x")
	if err != nil {
		t.Fatal(err)
	}
	if input, err := os.ReadFile(first + "/input"); string(input) != "one" {
		t.Errorf("input %q, %v", input, err)
	}
	if argument, err := os.ReadFile(first + "/argument"); string(argument) != "x\n" {
		t.Errorf("argument %q, %v", argument, err)
	}
	if again, err := cached(t.Context(), "thing", script, []byte("one"), "x"); again != first || err != nil {
		t.Errorf("second call: %q, %v; want %q", again, err, first)
	}
	if made, err := os.ReadFile("made"); string(made) != "made\n" {
		t.Errorf("made %q, %v; want once", made, err)
	}
	killed := filepath.Join(cacheDir, "thing-new-1")
	if err := os.Mkdir(killed, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, other := range []func() (string, error){
		func() (string, error) { return cached(t.Context(), "thing", script, []byte("two"), "x") },
		func() (string, error) { return cached(t.Context(), "thing", script, []byte("two"), "y") },
		func() (string, error) { return cached(t.Context(), "thing", append(script, '\n'), []byte("two"), "y") },
	} {
		dir, err := other()
		if err != nil || dir == first {
			t.Errorf("changed: %q, %v", dir, err)
		}
		if all, err := os.ReadDir(cacheDir); len(all) != 1 {
			t.Errorf("%v, %v; want only %s", all, err, dir)
		}
	}
}

func TestCachedFailure(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := cached(t.Context(), "thing", []byte("echo reason >&2; exit 3"), nil)
	if err == nil || dir != "" {
		t.Fatalf("%q, %v", dir, err)
	}
	if all, err := os.ReadDir(cacheDir); len(all) != 0 {
		t.Errorf("%v, %v; want nothing left", all, err)
	}
}
