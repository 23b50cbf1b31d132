package link

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// BenchmarkFreshRoutes gives a fresh router the routes of 65,000 endpoints, in turn with ip(8). Memory is what the kernel's
// objects take afterwards, and what the process has allocated on the way.
func BenchmarkFreshRoutes(b *testing.B) {
	const n = 65000
	want := manyRoutes(n)
	var text bytes.Buffer
	for _, r := range want {
		fmt.Fprintf(&text, "route add %s dev %s proto %d metric %d scope link src %s mtu %d\n", r.Dst, r.Dev, RouteProtocol, RouteMetric, r.Src, r.MTU)
	}
	var ours, theirs, again time.Duration
	var kernel, heap int64
	for b.Loop() {
		w := newWorld(b)
		ok(b, w.r.SetAddr(addr("100.127.0.1")))
		w.tunnel()
		objects, before := slabs(b), allocated()
		began := time.Now()
		ok(b, w.r.SetRoutes(want))
		ours += time.Since(began)
		heap += allocated() - before
		kernel += slabs(b) - objects
		began = time.Now()
		ok(b, w.r.SetRoutes(want))
		again += time.Since(began)
		ok(b, w.r.SetRoutes(nil))

		began = time.Now()
		ok(b, inNamespace(w.r.ns, func() error {
			cmd := exec.Command("ip", "-batch", "-")
			cmd.Stdin = bytes.NewReader(text.Bytes())
			return cmd.Run()
		}))
		theirs += time.Since(began)
		if got := len(w.routed(RouteProtocol)); got != n {
			b.Fatalf("ip made %d routes", got)
		}
	}
	per := func(v float64) float64 { return v / float64(b.N) }
	b.ReportMetric(per(ours.Seconds()), "s/65000-routes")
	b.ReportMetric(per(theirs.Seconds()), "s/ip-batch")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "of-ip-batch")
	b.ReportMetric(per(again.Seconds()), "s/again")
	b.ReportMetric(per(float64(kernel)/(1<<20)), "kernel-MiB")
	b.ReportMetric(per(float64(heap)/(1<<20)), "heap-MiB")
}

// allocated is what the process has ever had on its heap, in bytes.
func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

// slabs is what the kernel's own objects take, in bytes.
func slabs(b *testing.B) int64 {
	text, err := os.ReadFile("/proc/meminfo")
	ok(b, err)
	for line := range bytes.Lines(text) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "SUnreclaim: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	b.Fatal("no SUnreclaim")
	return 0
}
