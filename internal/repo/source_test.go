package repo

import (
	"bytes"
	"errors"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the repository, seen from this package.
const root = "../.."

// maxLines is the longest that a file may be; about 120 is usual.
const maxLines = 300

// file is one Go file of the repository.
type file struct {
	path string // from the root
	text []byte
	set  *token.FileSet
	tree *ast.File
}

func (f file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f file) at(n ast.Node) string {
	p := f.set.Position(n.Pos())
	return f.path + ":" + position(p)
}

// files reads every Go file of the repository.
func files(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // an editor's file that has gone
				return nil
			}
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", ".cache", "bin", "build", "testdata"}, d.Name()) {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		f := file{set: token.NewFileSet()}
		if f.path, err = filepath.Rel(root, path); err != nil {
			return err
		}
		if f.text, err = os.ReadFile(path); err != nil {
			return err
		}
		if f.tree, err = parser.ParseFile(f.set, path, f.text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
			return err
		}
		all = append(all, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFormatted(t *testing.T) {
	for _, f := range files(t) {
		if want, err := format.Source(f.text); err != nil || !bytes.Equal(want, f.text) {
			t.Errorf("%s is not as gofmt writes it (%v)", f.path, err)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, f := range files(t) {
		if lines := bytes.Count(f.text, []byte("\n")); lines > maxLines {
			t.Errorf("%s has %d lines, %d is the most: it has more than one thing in it", f.path, lines, maxLines)
		}
	}
}

func TestOnePackageComment(t *testing.T) {
	comments := make(map[string][]string)
	for _, f := range files(t) {
		dir := filepath.Dir(f.path)
		if f.test() {
			continue
		}
		if _, seen := comments[dir]; !seen {
			comments[dir] = nil
		}
		if f.tree.Doc == nil {
			continue
		}
		comments[dir] = append(comments[dir], f.path)
		if name := f.tree.Name.Name; name != "main" && !strings.HasPrefix(f.tree.Doc.Text(), "Package "+name+" ") {
			t.Errorf("%s: the package comment does not begin with %q", f.path, "Package "+name)
		}
	}
	for dir, with := range comments {
		if len(with) != 1 {
			t.Errorf("package %s has %d package comments, in %q: one says what it is for", dir, len(with), with)
		}
	}
}

func TestPackageNames(t *testing.T) {
	for _, f := range files(t) {
		name := strings.TrimSuffix(f.tree.Name.Name, "_test")
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "base", "shared", "types"}, name) {
			t.Errorf("%s: a package is named for the thing in it, and %q is none", f.path, name)
		}
	}
}

func TestModuleFile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if word := strings.Fields(line); len(word) > 0 && (word[0] == "replace" || word[0] == "exclude") {
			t.Errorf("go.mod: %q: the module must build for others as it builds here", strings.TrimSpace(line))
		}
	}
}
