package repo

import (
	"go/ast"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

func position(p token.Position) string { return strconv.Itoa(p.Line) }

// Exported things say what a caller must know. A group's comment speaks for its members.
func TestExportedIsDocumented(t *testing.T) {
	for _, f := range files(t) {
		if f.test() || f.tree.Name.Name == "main" {
			continue
		}
		for _, decl := range f.tree.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && ast.IsExported(receiver(d)) {
					t.Errorf("%s: %s has no comment", f.at(d), d.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					checkSpec(t, f, d, spec)
				}
			}
		}
	}
}

// receiver is the name of a method's type; a function counts as exported's.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return "Function"
	}
	expr := d.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

func checkSpec(t *testing.T, f file, group *ast.GenDecl, spec ast.Spec) {
	t.Helper()
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && group.Doc == nil {
			t.Errorf("%s: type %s has no comment", f.at(s), s.Name)
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && s.Doc == nil && s.Comment == nil && group.Doc == nil {
				t.Errorf("%s: %s has no comment", f.at(s), name)
			}
		}
	}
}

// selected walks all selectors package.Name of a file.
func selected(f file, visit func(call ast.Node, pkg, name string)) {
	ast.Inspect(f.tree, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok {
				visit(sel, x.Name, sel.Sel.Name)
			}
		}
		return true
	})
}

func TestTestsDoNotSleep(t *testing.T) {
	for _, f := range files(t) {
		selected(f, func(n ast.Node, pkg, name string) {
			if f.test() && pkg == "time" && name == "Sleep" {
				t.Errorf("%s: a test waits for a condition, not for time to pass", f.at(n))
			}
		})
	}
}

// netlink's xfrm types have String methods that print the keys, and are printed by %v down to the last byte.
func TestKeysStayInTheDataPlane(t *testing.T) {
	for _, f := range files(t) {
		selected(f, func(n ast.Node, pkg, name string) {
			if pkg == "netlink" && strings.HasPrefix(name, "Xfrm") && !strings.HasPrefix(f.path, "ipsec/xfrm/") {
				t.Errorf("%s: netlink.%s holds keys and prints them; only ipsec/xfrm handles it", f.at(n), name)
			}
		})
	}
}

func TestNoInit(t *testing.T) {
	for _, f := range files(t) {
		for _, decl := range f.tree.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" && !f.test() {
				t.Errorf("%s: an import must have no effect; main calls what it needs", f.at(d))
			}
		}
	}
}

// Log messages are constant and lower case, so that they can be searched for; values are in fields.
func TestLogMessages(t *testing.T) {
	levels := map[string]bool{"Trace": true, "Debug": true, "Info": true, "Warn": true, "Error": true}
	for _, f := range files(t) {
		if f.test() || !imports(f, "github.com/sirupsen/logrus") {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			from, ok := sel.X.(*ast.Ident)
			if name, formatted := strings.CutSuffix(sel.Sel.Name, "f"); formatted && levels[name] && !(ok && from.Name == "fmt") {
				t.Errorf("%s: %s puts values into the message; they belong into fields", f.at(call), sel.Sel.Name)
			}
			if levels[sel.Sel.Name] && len(call.Args) == 1 {
				if text := literal(call.Args[0]); text != "" && unicode.IsUpper([]rune(text)[0]) && !unicode.IsUpper([]rune(text + "a")[1]) {
					t.Errorf("%s: log message %q is not lower case", f.at(call), text)
				}
			}
			return true
		})
	}
}

// An error says which operation it was once; "failed to" at each level says nothing.
func TestErrorTexts(t *testing.T) {
	for _, f := range files(t) {
		if f.test() || strings.HasPrefix(f.path, "internal/") {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && strings.Contains(lit.Value, "failed to ") {
				t.Errorf("%s: %s: name the operation, not that it failed", f.at(lit), lit.Value)
			}
			return true
		})
	}
}

func imports(f file, path string) bool {
	for _, i := range f.tree.Imports {
		if i.Path.Value == strconv.Quote(path) {
			return true
		}
	}
	return false
}

// literal is the text of a string literal, else empty.
func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return text
}
