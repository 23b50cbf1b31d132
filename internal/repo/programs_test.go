package repo

import (
	"errors"
	"go/ast"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// basic lists programs that need no row in scripts/setup's table: Debian's essential and required
// packages, Go or make provide them.
var basic = strings.Fields(`apt-get awk bash cat chmod cp dd dpkg-query env false find findmnt
	getent git go grep head hostname ln losetup ls make mkdir mkfs.ext4 mount mv nice nsenter prlimit rm
	sed setpriv setsid sh sleep sync tail taskset tar timeout touch true truncate umount unshare`)

// table returns the rows of scripts/setup by the program or file that they begin with.
func table(t *testing.T) map[string]string {
	t.Helper()
	setup := filepath.Join(root, "scripts/setup")
	out, err := exec.CommandContext(t.Context(), setup, "--table").Output()
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		what, packageAndGroup, found := strings.Cut(strings.TrimSpace(line), " ")
		if _, twice := rows[what]; twice || !found {
			t.Errorf("scripts/setup: row %q", strings.TrimSpace(line))
		}
		rows[what] = packageAndGroup
	}
	return rows
}

// starters maps functions that start programs to the index of the argument that names the program.
var starters = map[string]int{
	"Command": 0, "CommandContext": 1, "LookPath": 0, "Run": 1, "RunRouter": 1, "Start": 2,
}

// programPath matches in any string, since containers of some tests see the machine's programs.
var programPath = regexp.MustCompile(`^/(?:usr/(?:local/)?)?s?bin/([^/\s]+)$`)

func TestProgramsAreInTheTable(t *testing.T) {
	rows := table(t)
	check := func(f file, at ast.Node, name string) {
		_, found := rows[name]
		if !found && !slices.Contains(basic, name) && !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "-") {
			t.Errorf("%s: starts %s, and scripts/setup has no row for it", f.at(at), name)
		}
	}
	seen := 0
	for _, f := range files(t) {
		ast.Inspect(f.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				function, _ := n.Fun.(*ast.SelectorExpr)
				if function == nil {
					break
				}
				if i, starts := starters[function.Sel.Name]; starts && i < len(n.Args) {
					if name, ok := text(n.Args[i]); ok {
						check(f, n, name)
						seen++
					}
				}
			case *ast.BasicLit:
				value, _ := text(n)
				if m := programPath.FindStringSubmatch(value); m != nil {
					check(f, n, m[1])
				}
			}
			return true
		})
	}
	if seen < 50 {
		t.Errorf("found only %d programs: functions of other names start them now", seen)
	}
}

// text returns the value of a string literal.
func text(e ast.Expr) (value string, ok bool) {
	lit, _ := e.(*ast.BasicLit)
	if lit == nil || lit.Kind != token.STRING {
		return "", false
	}
	value, err := strconv.Unquote(lit.Value)
	return value, err == nil
}

// TestHermeticNamesWhatHasNoRow removes rows from the table: their programs are then not found
// although they are installed, and the run fails and names them.
func TestHermeticNamesWhatHasNoRow(t *testing.T) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		t.Skip("no Debian: nobody knows which package has a program")
	}
	const script = "etcdctl version; conntrack --version; nft --version"
	out, err := hermetic(t, script)
	if err != nil {
		t.Fatalf("with the whole table: %v\n%s", err, out)
	}
	// The script's own status is that of nft, which succeeds.
	out, err = hermetic(t, script, "etcd-client", "conntrack")
	var exit *exec.ExitError
	const want = "programs were started that scripts/setup has no row for: conntrack etcdctl\n"
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, want) ||
		strings.Contains(out, "etcdctl version:") || !strings.Contains(out, "nftables v") {
		t.Errorf("without two rows: %v\n%s", err, out)
	}
}

// hermetic runs a shell script with scripts/hermetic and a table that lacks some packages.
func hermetic(t *testing.T, script string, lacking ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "scripts"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"scripts/setup", "scripts/hermetic"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range lacking {
			content = regexp.MustCompile(`(?m)^\S+ `+p+`\n`).ReplaceAll(content, nil)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "scripts/hermetic"), "sh", "-c", script)
	cmd.Env = append(os.Environ(), "HERMETIC=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
