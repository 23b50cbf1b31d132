package repo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// promises is how many of Docker's promises about networks docs/docker.md lists.
const promises = 24

// TestPromisesHaveTests: each of Docker's promises in docs/docker.md has tests that are there, or a reason why it does not apply.
func TestPromisesHaveTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "docker.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## What Docker promises of every network\n")
	if !found {
		t.Fatal("docs/docker.md has no section about Docker's promises")
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
		if _, reason, _ := strings.Cut(cells[2], "does not apply:"); len(names) == 0 && strings.TrimSpace(reason) == "" {
			t.Errorf("%s: no tests, and no reason why it does not apply", cells[1])
		}
		for _, name := range names {
			if !there[name[1]] {
				t.Errorf("%s: docs/docker.md names %s, which is not there", cells[1], name[1])
			}
		}
	}
	if rows != promises {
		t.Errorf("docs/docker.md has %d promises, not %d", rows, promises)
	}
}
