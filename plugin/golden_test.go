package plugin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// record is one line of a trace: a command of the user's, or a call.
type record struct {
	Command string          `json:"cmd"`
	Method  string          `json:"m"`
	Request json.RawMessage `json:"req"`
}

// recorded reads a trace.
func recorded(t testing.TB, name string) []record {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "traces", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var out []record
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, r)
	}
	return out
}

// TestConversation holds, for one call of each shape that the engines were recorded to send, what arrives at the driver
// and what goes back, letter by letter. Rewritten by `go test ./plugin -run TestConversation -update`; a difference is
// something that dockerd, or a driver, will see.
func TestConversation(t *testing.T) {
	for _, engine := range []string{"20", "29"} {
		var out strings.Builder
		seen := make(map[string]bool)
		f := new(fake)
		d := start(t, f)
		for _, trace := range []string{"legacy-basic", "legacy-join", "swarm-global-sa" + engine} {
			for _, r := range recorded(t, engine+"-"+trace) {
				if r.Method == "" || seen[shape(t, r)] {
					continue
				}
				seen[shape(t, r)] = true
				before := len(f.seen())
				status, reply, _ := d.ask(t, r.Method, string(r.Request))
				fmt.Fprintf(&out, "%s\n  request %s\n", r.Method, r.Request)
				for _, call := range f.seen()[before:] {
					fmt.Fprintf(&out, "  driver  %s\n", call)
				}
				fmt.Fprintf(&out, "  reply   %d %s\n\n", status, reply)
			}
		}
		golden := filepath.Join("testdata", "conversation-"+engine+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if out.String() != string(want) {
			t.Errorf("%s differs; got\n%s", golden, out.String())
		}
	}
}

// shape is a request's method, the names of its options, and which of the fields that make a difference are set.
func shape(t *testing.T, r record) string {
	t.Helper()
	var req struct {
		Options                map[string]any
		Pool, SubPool, Address string
		IPv6Data               []any
		Interface              struct{ AddressIPv6, MacAddress string }
	}
	if len(r.Request) > 0 {
		if err := json.Unmarshal(r.Request, &req); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprint(r.Method, slices.Sorted(maps.Keys(req.Options)), req.Options == nil, req.Pool != "", req.SubPool != "",
		req.Address != "", len(req.IPv6Data), req.Interface.AddressIPv6 != "", req.Interface.MacAddress != "")
}
