package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// The ports that containers use among themselves.
const (
	udpPort = 7000
	tcpPort = 7001

	sendEvery     = 20 * time.Millisecond // a datagram for each pair and direction, up to
	sendBurst     = 12                    // pairs at a time, all in turn
	transferEvery = 40 * time.Millisecond // one of a pair, all in turn
	transferSize  = 16 << 10
	fewHosts      = 5 // so many send to all others
)

// sample is to whom a container sends among many: to those that are so many hosts further. Each sender takes a place in the neighbour
// table, which is one for all namespaces (net/core/neighbour.c: 1,024 entries).
var sample = []int{1, 2, 5, 11, 17}

// traffic is numbered datagrams full of the canary, and small TCP transfers, between all pairs of containers, of many hosts a
// sample, and an observer in each that looks at every frame that comes in.
type traffic struct {
	canary, marker [16]byte
	boxes          []*box
	pairs          [][]*pair // from, to; nil: nothing is sent

	mu  sync.Mutex
	bad []string // what was seen that must never be; the first of each observer's
}

// pair is what has gone from one container to another.
type pair struct {
	from, to                   int
	sent, arrived, transfers   atomic.Uint32
	markArrived, markTransfers uint32                // counts when the last fault was lifted
	failed                     atomic.Pointer[error] // why the last transfer that did not come to its end did not

	mu   sync.Mutex
	seen []uint64 // numbers that have arrived, a bit for each
}

// mark begins to count anew.
func (p *pair) mark() {
	p.markArrived, p.markTransfers = p.arrived.Load(), p.transfers.Load()
	p.failed.Store(nil)
}

// why tells of the last transfer that failed.
func (p *pair) why() error {
	if err := p.failed.Load(); err != nil {
		return *err
	}
	return errors.New("none has failed either")
}

// first notes that a number has arrived, and says whether it had not before.
func (p *pair) first(n uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if missing := int(n/64) + 1 - len(p.seen); missing > 0 {
		p.seen = append(p.seen, make([]uint64, missing)...)
	}
	bit := uint64(1) << (n % 64)
	known := p.seen[n/64]&bit != 0
	p.seen[n/64] |= bit
	return !known
}

// box is a container as an end of traffic.
type box struct {
	node  *node
	addr  netip.Addr
	udp   *net.UDPConn
	tcp   net.Listener
	taken *observer
}

func newTraffic(nodes []*node, canary, marker [16]byte) (_ *traffic, err error) {
	t := &traffic{canary: canary, marker: marker}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	for i, n := range nodes {
		b := &box{node: n, addr: n.container.Addr}
		t.boxes = append(t.boxes, b)
		t.pairs = append(t.pairs, make([]*pair, len(nodes)))
		for j := range nodes {
			further := (j - i + len(nodes)) % len(nodes)
			if i != j && (len(nodes) <= fewHosts || slices.Contains(sample, further)) {
				t.pairs[i][j] = &pair{from: i, to: j}
			}
		}
		err := n.container.Enter(func() (err error) {
			if b.udp, err = net.ListenUDP("udp4", &net.UDPAddr{Port: udpPort}); err != nil {
				return err
			}
			if b.tcp, err = net.Listen("tcp4", fmt.Sprintf(":%d", tcpPort)); err != nil {
				return err
			}
			b.taken, err = newObserver()
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("container on %s: %w", n.host.Name, err)
		}
	}
	return t, nil
}

// run sends until ctx ends.
func (t *traffic) run(ctx context.Context) error {
	var work errgroup.Group
	for i, b := range t.boxes {
		work.Go(func() error { return b.taken.run(ctx, func(frame []byte) { t.judge(i, frame) }) })
		work.Go(func() error { return serve(ctx, b.tcp) })
		work.Go(func() error { return drain(ctx, b.udp) })
	}
	all := slices.DeleteFunc(slices.Concat(t.pairs...), func(p *pair) bool { return p == nil })
	every := transferEvery * time.Duration(len(all)) * scale()
	for _, p := range all {
		work.Go(func() error { return t.transfers(ctx, p, every) })
	}
	tick := time.NewTicker(sendEvery * scale())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			t.close()
			return work.Wait()
		case <-tick.C:
		}
		for _, p := range all[:min(sendBurst, len(all))] {
			number := p.sent.Add(1)
			// An error, such as of a link that is down, is a datagram lost.
			_, _ = t.boxes[p.from].udp.WriteToUDPAddrPort(t.datagram(p.from, p.to, number), netip.AddrPortFrom(t.boxes[p.to].addr, udpPort))
		}
		if len(all) > sendBurst {
			all = slices.Concat(all[sendBurst:], all[:sendBurst])
		}
	}
}

// datagram is the payload of that number from one container to another, of a length that follows from the number.
func (t *traffic) datagram(from, to int, number uint32) []byte {
	b := append(t.canary[:], byte(from), byte(to))
	b = binary.BigEndian.AppendUint32(b, number)
	for size := 64 + int(number%8)*50; len(b) < size; {
		b = append(b, t.canary[:]...)
	}
	return b
}

// transfers has the other container echo a pattern, again and again.
func (t *traffic) transfers(ctx context.Context, p *pair, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch same, err := t.transfer(p.from, p.to); {
		case err != nil: // a fault is on
			p.failed.Store(&err)
		case same:
			p.transfers.Add(1)
		default:
			t.report(fmt.Sprintf("TCP between %s and %s: other bytes came back than were sent", name(p.from), name(p.to)))
		}
	}
}

func (t *traffic) transfer(i, j int) (same bool, err error) {
	err = t.boxes[i].node.container.Enter(func() error {
		to := netip.AddrPortFrom(t.boxes[j].addr, tcpPort)
		conn, err := net.DialTimeout("tcp4", to.String(), time.Second*scale())
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(2 * time.Second * scale())); err != nil {
			return err
		}
		out, back := bytes.Repeat(t.canary[:], transferSize/len(t.canary)), make([]byte, transferSize)
		if _, err := conn.Write(out); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, back); err != nil {
			return err
		}
		same = bytes.Equal(out, back)
		return nil
	})
	return same, err
}

// serve echoes one transfer for each connection.
func serve(ctx context.Context, l net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		open.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(3 * time.Second * scale()))
			_, _ = io.CopyN(conn, conn, transferSize)
		})
	}
}

// drain takes what has arrived, which the observer has seen already.
func drain(ctx context.Context, conn *net.UDPConn) error {
	b := make([]byte, 1<<16)
	for {
		if _, _, err := conn.ReadFromUDPAddrPort(b); ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil
		}
	}
}

func (t *traffic) close() {
	for _, b := range t.boxes {
		if b.udp != nil {
			_ = b.udp.Close()
		}
		if b.tcp != nil {
			_ = b.tcp.Close()
		}
	}
}
