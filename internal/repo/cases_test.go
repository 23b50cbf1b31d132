package repo

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// cases is how many cases CONTRIBUTING.md lists that a driver of Docker's has to pass.
const cases = 32

// testNamed is a test's name in a text.
var testNamed = regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")

// testNames are the names of all tests.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	for _, f := range files(t) {
		for _, d := range f.tree.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test() && fn.Recv == nil {
				there[fn.Name.Name] = true
			}
		}
	}
	return there
}

// Each of Docker's cases has a row in CONTRIBUTING.md that names tests, of which one at least bears its number. The tests that docs/docker.md
// names are there.
func TestDockersCasesHaveTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := testNames(t)
	numbered := map[string]bool{}
	number := regexp.MustCompile(`^TestCase(\d+)`)
	for name := range there {
		if n := number.FindStringSubmatch(name); n != nil {
			numbered[n[1]] = true
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "docker.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range testNamed.FindAllSubmatch(page, -1) {
		if !there[string(name[1])] {
			t.Errorf("docs/docker.md names %s, which is not there", name[1])
		}
	}
	rows := map[string][]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \|.*$`).FindAllSubmatch(text, -1) {
		for _, name := range testNamed.FindAllSubmatch(row[0], -1) {
			rows[string(row[1])] = append(rows[string(row[1])], string(name[1]))
		}
	}
	for n := 1; n <= cases; n++ {
		id := fmt.Sprint(n)
		if !numbered[id] {
			t.Errorf("case %d has no test", n)
		}
		if !strings.Contains(strings.Join(rows[id], " ")+" ", "TestCase"+id) {
			t.Errorf("case %d has no row in CONTRIBUTING.md that names its test", n)
		}
		for _, name := range rows[id] {
			if !there[name] {
				t.Errorf("case %d: CONTRIBUTING.md names %s, which is not there", n, name)
			}
		}
	}
	if len(rows) != cases {
		t.Errorf("CONTRIBUTING.md has %d cases, not %d", len(rows), cases)
	}
}
