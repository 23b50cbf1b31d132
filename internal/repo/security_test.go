package repo

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A promise in docs/security.md is worth as much as the test that it names; a parser as its fuzz target, so each is named.
func TestPromisesNameTheirTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, f := range files(t) {
		if !f.test() {
			continue
		}
		for _, d := range f.tree.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				there[fn.Name.Name] = true
				if name := fn.Name.Name; strings.HasPrefix(name, "Fuzz") && !strings.HasPrefix(f.path, "internal/") && !strings.Contains(string(text), "`"+name+"`") {
					t.Errorf("docs/security.md does not name %s", name)
				}
			}
		}
	}
	test := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	named := test.FindAllSubmatch(text, -1)
	if len(named) == 0 {
		t.Error("docs/security.md names no test")
	}
	for _, name := range named {
		if !there[string(name[1])] {
			t.Errorf("docs/security.md names %s, which is not there", name[1])
		}
	}
	promises := false
	for line := range strings.Lines(string(text)) {
		switch {
		case !strings.HasPrefix(line, "|"):
			promises = false
		case strings.HasPrefix(line, "| promise |"):
			promises = true
		case promises && !strings.HasPrefix(line, "|---") && !test.MatchString(line):
			t.Errorf("docs/security.md: no test is named for %s", line)
		}
	}
}
