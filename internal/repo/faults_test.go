package repo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// faults is how many kinds of faults CONTRIBUTING.md lists that what runs has to survive.
const faults = 12

// Each kind of fault has a row in CONTRIBUTING.md that names tests, and they are there.
func TestFaultsHaveTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## What may fail\n")
	if !found {
		t.Fatal("CONTRIBUTING.md has no section about what may fail")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	_, table, _ := strings.Cut(section, "|---|---|---|\n")
	there, rows := testNames(t), 0
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(row), "|")
		if len(cells) != 5 {
			break
		}
		rows++
		names := testNamed.FindAllStringSubmatch(cells[3], -1)
		if len(names) == 0 {
			t.Errorf("%s: no tests", cells[1])
		}
		for _, name := range names {
			if !there[name[1]] {
				t.Errorf("%s: CONTRIBUTING.md names %s, which is not there", cells[1], name[1])
			}
		}
	}
	if rows != faults {
		t.Errorf("CONTRIBUTING.md has %d kinds of faults, not %d", rows, faults)
	}
}
