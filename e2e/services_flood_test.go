package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFloodOfServices: a container that floods DNS and metadata is cut off; another one on its host is answered meanwhile, and
// the agent serves Docker.
func TestFloodOfServices(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "musl-gcc", "-static", "-O", "-o", filepath.Join(dir, "flood"), "testdata/flood.c").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	web := start(t, s.Hosts[1], mesh, "web")
	flooder := start(t, h, mesh, "flooder", "-v", dir+":/c:ro")
	asker := start(t, h, mesh, "asker", useful...)
	finds(t, asker, "web", web.Addr.String())
	quiet := asked(t, asker.Name, func() error { _, err := dig(t, asker, "@"+service, "web"); return err })

	const seconds = 15
	done := make(chan string, 1)
	go func() {
		out, err := flooder.Exec(t.Context(), "/c/flood", fmt.Sprint(seconds))
		if err != nil {
			out = err.Error()
		}
		done <- out
	}()
	if _, err := flooder.Exec(t.Context(), "sh", "-c", "for i in 1 2 3 4; do (while :; do wget -q -T 1 -O /dev/null http://"+service+"/latest/containers; done) & done; sleep 1"); err != nil {
		t.Fatal(err)
	}
	flooded := asked(t, asker.Name, func() error {
		got, err := dig(t, asker, "+tries=3", "@"+service, "web")
		if err == nil && !slices.Contains(got, web.Addr.String()) {
			err = fmt.Errorf("found %v", got)
		}
		return err
	})
	page := asked(t, asker.Name, func() error {
		_, err := asker.Exec(t.Context(), "/usr/bin/wget", "-q", "-T", "3", "-O", "/dev/null", "http://"+service+"/latest/self/container/name")
		return err
	})
	began := time.Now()
	start(t, h, mesh, "new")
	t.Logf("figure: 10 × dig with docker exec: median %s quiet, %s flooded; wget %s; docker run %s meanwhile; questions sent: %s in %d s",
		quiet, flooded, page, time.Since(began).Round(time.Millisecond), <-done, seconds)
	metrics, err := h.Run(t.Context(), "sh", "-c", "/usr/bin/wget -q -O - http://127.0.0.1:9450/metrics | grep -E 'dns_drops_total.*rate|code=\"429\"|container-flood'")
	if err != nil || !strings.Contains(metrics, "rate") || strings.Contains(metrics, `reason="rate"} 0`) ||
		!strings.Contains(metrics, "flood-udp-53") || strings.Contains(metrics, `reason="container-flood-udp-53"} 0`) {
		t.Errorf("%s, %v", metrics, err)
	}
	t.Logf("figure: %s", metrics)
}

// asked does something ten times, and gives the median of how long it took.
func asked(t *testing.T, who string, do func() error) time.Duration {
	t.Helper()
	var took []time.Duration
	for range 10 {
		began := time.Now()
		if err := do(); err != nil {
			t.Errorf("%s: %v", who, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2].Round(time.Millisecond)
}
