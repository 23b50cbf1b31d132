package handshake

import (
	"context"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

func newRandom(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// What one datagram costs a host that is up.
func BenchmarkForged(b *testing.B) {
	w := newWorld(b, 1, standardSuite, "a", "b")
	for _, h := range w.hosts {
		h.boot()
	}
	w.hosts[0].know(w.hosts[1])
	w.hosts[1].know(w.hosts[0])
	w.run(time.Second)
	m := w.hosts[1].m
	now := time.Hour
	run := func(name string, make func(n uint32) []byte) {
		b.Run(name, func(b *testing.B) {
			datagrams := [][]byte{}
			for n := range uint32(4096) {
				datagrams = append(datagrams, make(n))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if i%100_000 == 0 {
					now += time.Second // at a rate of 100,000 a second
				}
				m.Receive(now, stranger(uint32(i)), datagrams[i%len(datagrams)])
			}
		})
	}
	run("wrong-mac", func(n uint32) []byte {
		d := forged(m, n)
		d[macOffset] ^= 1
		return d
	})
	run("good-mac", func(n uint32) []byte { return forged(m, n) })
	run("wrong-cookie", func(n uint32) []byte {
		return splitWith([]byte("0123456789abcdef"), header{kind: typeInitCookie, sender: n}, make([]byte, 1500), macKey(m.static.Public))[0]
	})
	run("response", func(n uint32) []byte {
		return split(header{kind: typeResponse, receiver: n}, make([]byte, 1100), macKey(m.static.Public))[0]
	})
	run("cookie", func(n uint32) []byte {
		d := make([]byte, headerLen+cookieSize)
		header{kind: typeCookie, parts: 1, receiver: n}.put(d)
		return d
	})
}

// What a forged init costs a Loop that is flooded, with all that is done before the machine sees it: processor time of the
// whole process, as the loop runs beside who delivers.
func BenchmarkFloodedLoop(b *testing.B) {
	w := newWorld(b, 1, standardSuite, "a")
	w.hosts[0].boot()
	m := w.hosts[0].m
	log := logrus.New()
	log.SetOutput(io.Discard)
	l := NewLoop(m, func(netip.AddrPort, []byte) error { return nil }, func() error { return nil }, logrus.NewEntry(log))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	d := forged(m, 1)
	d[macOffset] ^= 1
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		for len(l.messages) > messageQueue/2 {
			<-time.After(50 * time.Microsecond) // the queue lasts for longer
		}
		l.Deliver(d, stranger(uint32(i)))
	}
	b.StopTimer()
	stop()
	<-ended
	b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op")
}
