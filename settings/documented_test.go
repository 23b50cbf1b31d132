package settings

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestEverySettingIsInThePluginsConfigAndInTheDocs holds config.json, by which Docker knows settings, and
// docs/settings.md, by which operators know them, to the list in the code.
func TestEverySettingIsInThePluginsConfigAndInTheDocs(t *testing.T) {
	text, err := os.ReadFile("../config.json")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Env []struct {
			Name, Value string
			Settable    []string
		}
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Env) != len(All) {
		t.Errorf("config.json has %d settings, there are %d", len(config.Env), len(All))
	}
	for i, s := range All {
		if !strings.Contains(string(page), "\n| `"+s.Name+"` |") {
			t.Errorf("docs/settings.md lacks %s", s.Name)
		}
		if i >= len(config.Env) {
			break
		}
		e := config.Env[i]
		if e.Name != s.Name || len(e.Settable) != 1 || e.Settable[0] != "value" {
			t.Errorf("setting %d of config.json is %s, settable %v; want %s, settable", i, e.Name, e.Settable, s.Name)
		}
		if e.Value != "" && e.Value != s.Default {
			t.Errorf("%s is %q in config.json and %q in the code", s.Name, e.Value, s.Default)
		}
	}
}
