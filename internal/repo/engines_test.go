package repo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatDiffers: each test that is listed to differ between engines is there, once, with a reason.
func TestWhatDiffers(t *testing.T) {
	tests := testNames(t)
	text, err := os.ReadFile(filepath.Join(root, "e2e/testdata/differs"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		if !tests[name] || strings.TrimSpace(reason) == "" {
			t.Errorf("e2e/testdata/differs: %q: not a test of e2e, there twice, or without a reason", strings.TrimSpace(line))
		}
		delete(tests, name)
	}
}
