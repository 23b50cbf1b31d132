package driver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/store"
)

func TestServiceAndProject(t *testing.T) {
	for name, c := range map[string]struct {
		labels           map[string]string
		service, project string
	}{
		"none":    {nil, "", ""},
		"Compose": {map[string]string{composeService: "web", composeProject: "shop", composeOneoff: "False"}, "web", "shop"},
		"compose run, which is no instance of the service": {map[string]string{composeService: "web", composeProject: "shop", composeOneoff: "True"}, "", "shop"},
		"a Swarm service":        {map[string]string{swarmService: "web"}, "web", ""},
		"one of a stack":         {map[string]string{swarmService: "shop_web", swarmStack: "shop"}, "web", "shop"},
		"what is in no terminal": {map[string]string{composeService: "\x1b[2J", composeProject: strings.Repeat("x", 256)}, "", ""},
	} {
		if service, project := service(c.labels); service != c.service || project != c.project {
			t.Errorf("%s: %q, %q", name, service, project)
		}
	}
}

func TestAliasesAreFurtherNames(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	c := engine.Container{ID: id, Name: "shop_web_1", Aliases: map[string][]string{
		"e1": {"web", id[:12], "shop_web_1", "web", "abc", "", "a\nb", "0123"}, "e2": {"other"}}}
	if got, want := aliases(c, "e1"), []string{"0123", "abc", "web"}; !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
	if got := aliases(c, "e3"); got != nil {
		t.Errorf("of another network: %q", got)
	}
	for n := range 100 {
		c.Aliases["e2"] = append(c.Aliases["e2"], fmt.Sprintf("n%02d", n))
	}
	if got := aliases(c, "e2"); len(got) != maxAliases {
		t.Errorf("%d aliases", len(got))
	}
}

func TestLabelsAreUsefulAndBounded(t *testing.T) {
	got := labels(map[string]string{
		"tier": "front", "com.example.owner": "", "meshsec.group": "a", composeNumber: "2",
		composeService: "web", "com.docker.compose.config-hash": "x", "org.opencontainers.image.title": "x", "desktop.docker.io/x": "x",
		"": "x", "bad\x1b": "x", "bad": "\x07", strings.Repeat("k", maxLabelKey+1): "x", "long": strings.Repeat("v", maxLabel+1),
	})
	want := map[string]string{"tier": "front", "com.example.owner": "", "meshsec.group": "a", composeNumber: "2"}
	if !maps.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
	many := map[string]string{"meshsec.zone": "z"}
	for n := range 1000 {
		many[fmt.Sprintf("label%03d", n)] = "v"
	}
	if got = labels(many); len(got) != maxLabels || got["meshsec.zone"] != "z" || got["label000"] != "v" {
		t.Errorf("%d labels: %q", len(got), got)
	}
	for key := range many {
		many[key] = strings.Repeat("v", maxLabel)
	}
	got = labels(many)
	size := 0
	for key, value := range got {
		size += len(key) + len(value)
	}
	if size > maxAllBytes || size < maxAllBytes/2 || got["meshsec.zone"] == "" {
		t.Errorf("%d bytes", size)
	}
	if labels(nil) != nil || labels(map[string]string{"com.docker.x": "y"}) != nil {
		t.Error("an empty map is written into the fact")
	}
}

// What a host publishes is accepted by all others, or its containers could not be reached.
func TestDescriptionsAreSoundFacts(t *testing.T) {
	long := strings.Repeat("x", 5000)
	c := engine.Container{ID: strings.Repeat("c", 64), Name: "web\x1b", Labels: map[string]string{long: "x", "x": long, swarmService: long, "a\n": "b"},
		Aliases: map[string][]string{ep1: {long, "\x00"}}, Ports: []engine.Port{{Proto: "icmp", Port: 1}, {Proto: "tcp", Port: 0}}}
	e := describe(store.Endpoint{ID: ep1}, c)
	if e.Name != "" || e.Aliases != nil || e.Labels != nil || e.Service != "" || e.Ports != nil {
		t.Errorf("%+v", e)
	}
}
