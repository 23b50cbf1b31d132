package metadata

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestDescriptionIsTrue: every path of the OpenAPI description answers, every root is described, and the objects have the
// properties that it names, no others.
func TestDescriptionIsTrue(t *testing.T) {
	text, err := os.ReadFile("../docs/metadata.openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths      map[string]map[string]any
		Components struct {
			Schemas map[string]struct{ Properties map[string]any }
		}
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, Options{})
	described := map[string]bool{}
	for path, methods := range doc.Paths {
		if _, ok := methods["get"]; !ok {
			continue
		}
		path = strings.ReplaceAll(path, "{version}", "latest")
		if got := w.get(me, path); strings.HasPrefix(got, "4") && len(got) > 20 {
			t.Errorf("%s: %s", path, got)
		}
		if parts := strings.Split(path, "/"); len(parts) > 2 {
			described[parts[2]] = true
		}
	}
	if got, want := slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(roots)); !slices.Equal(got, want) {
		t.Errorf("described are %v, there are %v", got, want)
	}
	for path, schema := range map[string]string{"self/container": "Container", "containers/0": "Container", "hosts/0": "Host", "self/network": "Network", "services/0": "Service"} {
		var v map[string]any
		if err := json.Unmarshal([]byte(w.get(me, "/latest/"+path, "Accept", "application/json")), &v); err != nil {
			t.Fatal(path, err)
		}
		got, want := slices.Sorted(maps.Keys(v)), slices.Sorted(maps.Keys(doc.Components.Schemas[schema].Properties))
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, described are %v", path, got, want)
		}
	}
}
