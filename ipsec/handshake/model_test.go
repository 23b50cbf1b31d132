package handshake

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// modelOnly are the steps of the model that stand for the network, the attacker, time, or the bounds of the search.
var modelOnly = strings.Fields("check expireOld unsaid release one ofHost lower sweep stale replay forget since buryOne")

// declared gives the names of functions, methods, fields and constants of this package, without tests.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				names[n.Name.Name] = true
			case *ast.Field:
				for _, name := range n.Names {
					names[name.Name] = true
				}
			case *ast.ValueSpec:
				for _, name := range n.Names {
					names[name.Name] = true
				}
			}
			return true
		})
	}
	return names
}

// The model's states and steps are the code's, named alike, and what decides about pairs in the code is in the model.
func TestModelNamesWhatTheCodeNames(t *testing.T) {
	text, err := os.ReadFile("model/handshake.pml")
	if err != nil {
		t.Fatal(err)
	}
	model, names := string(text), declared(t)
	for _, name := range modelOnly {
		if names[name] {
			t.Errorf("%s is the model's own, and the code has one, too", name)
		}
		names[name] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^inline (\w+)\(`).FindAllStringSubmatch(model, -1) {
		if !names[m[1]] {
			t.Errorf("the model's step %s is not in the code", m[1])
		}
	}
	states := regexp.MustCompile(`mtype = \{ none, ([\w, ]+) \}`).FindStringSubmatch(model)
	if states == nil {
		t.Fatal("no states")
	}
	for _, state := range strings.Split(states[1], ", ") {
		if !names[state] {
			t.Errorf("the model's state %s is not in the code", state)
		}
	}
	for _, name := range strings.Fields("insert adopt confirm bury giveUpOut expire cancel settle begin begins silence receiveInit receiveResponse " +
		"receiveCookie Confirmed UnknownSPI SoftLimit pending made confirmed dead mute generation rank proofTime unconfirmedLife pendingLife oldGrace") {
		if !declared(t)[name] || !regexp.MustCompile(`\b`+name+`\b`).MatchString(model) {
			t.Errorf("%s decides about pairs, and is not in both", name)
		}
	}
}
