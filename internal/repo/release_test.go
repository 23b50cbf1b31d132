package repo

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPublishRefuses holds scripts/publish to its errors for what it must not push, and where to.
func TestPublishRefuses(t *testing.T) {
	for _, test := range []struct{ registry, version, want string }{
		{"", "v1", "REGISTRY is not set"},
		{"registry.example/namespace/meshsec", "v1", "placeholder"},
		{"registry.example.com/namespace/meshsec", "v1", "placeholder"},
		{"ghcr.test", "v1", "is no <host>"},
		{"https://ghcr.test/n/meshsec", "v1", "is no <host>"},
		{"ghcr.test/N/meshsec", "v1", "is no <host>"},
		{"ghcr.test/n/meshsec:v1", "v1", "is no <host>"},
		{"n/meshsec", "v1", "docker.io/"},
		{"ghcr.test:5000/n/meshsec", "v1-dirty", "commit the changes first"},
		{"ghcr.test:5000/n/meshsec", "unknown", "belongs to no commit"},
		{"ghcr.test:5000/n/meshsec", "never-built", "has no plugin of version never-built: make release"},
	} {
		script, err := filepath.Abs(filepath.Join(root, "scripts/publish"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(script)
		cmd.Env = append(cmd.Environ(), "REGISTRY="+test.registry, "VERSION="+test.version)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.want) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("REGISTRY=%s VERSION=%s: %v: %s", test.registry, test.version, err, out)
		}
	}
}
