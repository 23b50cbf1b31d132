package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/internal/testnet"
)

// What dockerd writes of a plugin's standard output: one line for a line, with `info` as its own level; and what that is of meshsec.
var (
	dockerdLine = regexp.MustCompile(`^time="[^"]+" level=(\w+) msg="(.*)" plugin=[0-9a-f]{64}$`)
	agentLine   = regexp.MustCompile(`^time=\\"[^"]+\\" level=(trace|debug|info|warning|error) msg=.`)
)

// readable fails the test unless each line of the plugin in dockerd's log is an event with its level, whole in itself.
func readable(t *testing.T, h *testnet.Host) {
	t.Helper()
	lines := 0
	for line := range strings.SplitSeq(h.DockerdLog(1<<20), "\n") {
		if !strings.Contains(line, " plugin=") {
			continue
		}
		lines++
		m := dockerdLine.FindStringSubmatch(line)
		if m == nil || m[1] != "info" || !agentLine.MatchString(m[2]) || strings.Contains(m[2], `\n`) {
			t.Errorf("the log of %s has: %s", h.Name, line)
		}
	}
	if lines < 3 {
		t.Errorf("the log of %s has %d lines of the plugin", h.Name, lines)
	}
}
