package repo

import (
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const logrusPath = "github.com/sirupsen/logrus"

// A log entry whose field the formatter can't render is lost, and JSON renders neither every map nor a function. So the static
// type of each field is a scalar or has a text form of its own.
func TestLogFields(t *testing.T) {
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range fieldFaults(t, abs, nil) {
		t.Error(fault)
	}
}

// The check finds each way in which a field can be lost, and refuses no other.
func TestLogFieldsAreFound(t *testing.T) {
	abs, err := filepath.Abs(filepath.Join(root, "internal/repo/logged.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := fieldFaults(t, filepath.Dir(abs), map[string][]byte{abs: []byte(`package repo

import (
	"errors"
	"io"
	"net/netip"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/store"
)

type word string

func logged(log *logrus.Entry, plain logrus.FieldLogger, local store.Local, addr netip.Addr, value any) {
	fields := logrus.Fields{"good": 1}
	log.WithField("good", addr).WithField("good", word("x")).WithField("good", time.Second).WithField("good", nil)
	plain.WithFields(logrus.Fields{"good": errors.New("x"), "also": time.Time{}}).Info("x")
	log.WithField("leases", local.Leases)
	logrus.WithField("local", &local)
	plain.WithField("any", value)
	log.WithFields(map[string]any{"good": true, "func": func() {}})
	log.WithFields(fields)
	fields["reader"] = io.Discard
	log.Logger.WithField("statics", local.Statics).WithFields(logrus.Fields{"list": []int{1}}).Info("x")
}
`)})
	want := []string{"leases", "local", "any", "func", "a literal", "reader", "statics", "list"}
	if len(found) != len(want) {
		t.Errorf("%d faults, want %d", len(found), len(want))
	}
	for i, fault := range found {
		if i < len(want) && !strings.Contains(fault, want[i]) {
			t.Errorf("fault %d: %s; want that of %q", i, fault, want[i])
		}
	}
}

// fieldFaults type-checks the packages below dir and returns the log fields that may not be rendered. Without an overlay, which
// adds files, it checks test files as well.
func fieldFaults(t *testing.T, dir string, overlay map[string][]byte) (faults []string) {
	t.Helper()
	loaded, err := packages.Load(&packages.Config{Dir: dir, Tests: overlay == nil, Overlay: overlay, Fset: token.NewFileSet(),
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo}, "./...")
	if err != nil || len(loaded) == 0 {
		t.Fatal(loaded, err)
	}
	var places []token.Position
	texts := map[token.Position]string{}
	for _, p := range loaded {
		for _, err := range p.Errors {
			t.Fatal(err)
		}
		c := fieldCheck{p.TypesInfo, func(n ast.Node, fault string) {
			at := p.Fset.Position(n.Pos())
			if _, known := texts[at]; !known { // by the package's variant for its tests
				places = append(places, at)
			}
			texts[at] = fault
		}}
		for _, f := range p.Syntax {
			ast.Inspect(f, c.visit)
		}
	}
	slices.SortFunc(places, func(a, b token.Position) int {
		if by := strings.Compare(a.Filename, b.Filename); by != 0 {
			return by
		}
		return a.Offset - b.Offset
	})
	for _, at := range places {
		faults = append(faults, at.String()+": "+texts[at])
	}
	return faults
}

// fieldCheck reports the faults of one package.
type fieldCheck struct {
	info   *types.Info
	report func(n ast.Node, fault string)
}

func (c fieldCheck) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CompositeLit:
		if c.isFields(n) {
			c.literal(n)
		}
	case *ast.AssignStmt:
		for i, left := range n.Lhs {
			if at, ok := left.(*ast.IndexExpr); ok && c.isFields(at.X) && len(n.Lhs) == len(n.Rhs) {
				c.value(at.Index, n.Rhs[i])
			}
		}
	case *ast.CallExpr:
		sel, ok := n.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		f, ok := c.info.Uses[sel.Sel].(*types.Func)
		if !ok || f.Pkg() == nil || f.Pkg().Path() != logrusPath {
			return true
		}
		switch f.Name() {
		case "WithField":
			c.value(n.Args[0], n.Args[1])
		case "WithFields":
			lit, ok := n.Args[0].(*ast.CompositeLit)
			switch {
			case !ok:
				c.report(n.Args[0], "log fields are to be a literal, so that each can be checked")
			case !c.isFields(lit):
				c.literal(lit)
			}
		}
	}
	return true
}

func (c fieldCheck) isFields(e ast.Expr) bool {
	named, ok := types.Unalias(c.info.TypeOf(e)).(*types.Named)
	return ok && named.Obj().Name() == "Fields" && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == logrusPath
}

func (c fieldCheck) literal(lit *ast.CompositeLit) {
	for _, e := range lit.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			c.value(pair.Key, pair.Value)
		}
	}
}

func (c fieldCheck) value(key, value ast.Expr) {
	if t := c.info.TypeOf(value); !renders(t) {
		c.report(value, "log field "+types.ExprString(key)+" has the type "+t.String()+", which is neither a scalar nor an error nor has MarshalText")
	}
}

// renders reports whether every formatter renders values of the type.
func renders(t types.Type) bool {
	if basic, ok := t.Underlying().(*types.Basic); ok {
		return basic.Info()&types.IsComplex == 0 && basic.Kind() != types.UnsafePointer
	}
	return hasMethod(t, "Error", "string") || hasMethod(t, "MarshalText", "[]byte", "error")
}

// hasMethod reports whether the type has the method without parameters and with these results.
func hasMethod(t types.Type, name string, results ...string) bool {
	obj, _, _ := types.LookupFieldOrMethod(t, false, nil, name)
	f, ok := obj.(*types.Func)
	if !ok || f.Signature().Params().Len() != 0 || f.Signature().Results().Len() != len(results) {
		return false
	}
	for i, result := range results {
		if f.Signature().Results().At(i).Type().String() != result {
			return false
		}
	}
	return true
}
