package handshake

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/ipsec"
)

// Queue lengths of a Loop. What does not fit is dropped: a lost message or event is repeated by the protocol.
const (
	messageQueue = 512
	eventQueue   = 1024
	// batch is how many messages and events share one install when many arrive at once.
	batch = 32
)

// Loop runs a Machine: it owns the clock and carries out the outputs. All methods may be called concurrently, also
// from within the callbacks; only Run carries out outputs, so they stay in order.
type Loop struct {
	send         func(netip.AddrPort, []byte) error
	install      func() error
	probe        func(peer string)
	keepalive    func(to netip.AddrPort)
	needSnapshot func()
	log          *logrus.Entry
	start        time.Time

	mu      sync.Mutex // guards m, peers and dropped; never held while a callback runs
	m       *Machine
	peers   []Peer
	dropped map[string]uint64

	newPeers chan struct{}
	messages chan message
	events   chan ipsec.Event
}

// message is a datagram in room that is used again: under a flood the garbage would cost more than the MAC.
type message struct {
	from netip.AddrPort
	room *[maxDatagram]byte
	n    int
}

var rooms = sync.Pool{New: func() any { return new([maxDatagram]byte) }}

// NewLoop returns a Loop that sends with send and calls install after every change of SAs. install is synchronous: the
// data plane carries SAs() when it returns nil; it may call SAs and Status. The Machine belongs to the Loop from now on;
// its time zero is now.
func NewLoop(m *Machine, send func(netip.AddrPort, []byte) error, install func() error, log *logrus.Entry) *Loop {
	return &Loop{
		send: send, install: install, log: log, m: m,
		probe:        func(string) {},
		keepalive:    func(netip.AddrPort) {},
		needSnapshot: func() {},
		start:        time.Now(),
		dropped:      make(map[string]uint64),
		newPeers:     make(chan struct{}, 1),
		messages:     make(chan message, messageQueue),
		events:       make(chan ipsec.Event, eventQueue),
	}
}

// Format implements fmt.Formatter: behind a Loop are keys, so it is never printed.
func (*Loop) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(handshake loop)") }

// OnProbe sets what sends one echo request through the tunnel to a peer (a host ID). Call it before Run; f must not block.
func (l *Loop) OnProbe(f func(peer string)) { l.probe = f }

// OnKeepalive sets what sends one NAT keepalive to an address. Call it before Run; f must not block.
func (l *Loop) OnKeepalive(f func(to netip.AddrPort)) { l.keepalive = f }

// OnNeedSnapshot sets what is called when an unknown host began a handshake. Call it before Run; f must not block.
func (l *Loop) OnNeedSnapshot(f func()) { l.needSnapshot = f }

// Deliver hands over a datagram without its non-ESP marker. It copies msg, never blocks, and drops it when the queue is full.
func (l *Loop) Deliver(msg []byte, from netip.AddrPort) {
	if len(msg) > maxDatagram {
		l.drop("giant")
		return
	}
	if len(l.messages) == cap(l.messages) { // not worth a copy
		l.drop("queue-full")
		return
	}
	m := message{from, rooms.Get().(*[maxDatagram]byte), len(msg)}
	copy(m.room[:], msg)
	select {
	case l.messages <- m:
	default:
		rooms.Put(m.room)
		l.drop("queue-full")
	}
}

// Event hands over what the data plane has seen. It never blocks; an event is dropped when the queue is full.
func (l *Loop) Event(e ipsec.Event) {
	select {
	case l.events <- e:
	default:
		l.drop("event-queue-full")
	}
}

// SetPeers replaces the peers; the newest call wins. It does not wait.
func (l *Loop) SetPeers(peers []Peer) {
	l.mu.Lock()
	l.peers = append([]Peer(nil), peers...)
	l.mu.Unlock()
	select {
	case l.newPeers <- struct{}{}:
	default:
	}
}

// SAs returns what the data plane must carry, by host ID. The caller owns the result.
func (l *Loop) SAs() map[string]ipsec.SASet {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m.SAs()
}

// Status returns the peers, sorted by host ID.
func (l *Loop) Status() []PeerStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m.Status()
}

// Drops counts the datagrams and events that were dropped, by reason.
func (l *Loop) Drops() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	drops := l.m.Drops()
	for reason, n := range l.dropped {
		drops[reason] += n
	}
	return drops
}

func (l *Loop) drop(reason string) {
	l.mu.Lock()
	l.dropped[reason]++
	l.mu.Unlock()
}

func (l *Loop) now() time.Duration { return time.Since(l.start) }

// Run carries the machine until ctx is done, then returns nil. Call it once.
func (l *Loop) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var first func(now time.Duration) []Output
		select {
		case <-ctx.Done():
			return nil
		case <-l.newPeers:
			first = func(now time.Duration) []Output { return l.m.SetPeers(now, l.peers) }
		case e := <-l.events:
			first = func(now time.Duration) []Output { return l.m.Event(now, e) }
		case m := <-l.messages:
			first = func(now time.Duration) []Output { return l.receive(now, m) }
		case <-timer.C:
		}
		timer.Reset(l.round(first))
	}
}

// round lets the machine take first and some of what else has arrived, then carries out all that it asks for with one
// install. It returns how long nothing will be due.
func (l *Loop) round(first func(now time.Duration) []Output) time.Duration {
	l.mu.Lock()
	now := l.now()
	var outputs []Output
	if first != nil {
		outputs = first(now)
	}
	for range batch {
		select {
		case e := <-l.events:
			outputs = append(outputs, l.m.Event(now, e)...)
			continue
		case m := <-l.messages:
			outputs = append(outputs, l.receive(now, m)...)
			continue
		default:
		}
		break
	}
	due, next := l.m.Tick(now)
	l.mu.Unlock()
	l.carryOut(append(outputs, due...))
	return max(0, next-l.now())
}

// receive hands a message to the machine, which does not keep it. Needs the lock.
func (l *Loop) receive(now time.Duration, m message) []Output {
	defer rooms.Put(m.room)
	return l.m.Receive(now, m.from, m.room[:m.n])
}

// carryOut installs once, before everything else: the SAs of a later change than the one that a Send waits for do no harm.
func (l *Loop) carryOut(outputs []Output) {
	installed := true
	changed := func(o Output) bool { _, ok := o.(SAsChanged); return ok }
	if slices.ContainsFunc(outputs, changed) {
		err := l.install()
		installed = err == nil
		if err != nil {
			l.log.WithError(err).Error("security associations not installed")
		}
	}
	for _, o := range outputs {
		switch o := o.(type) {
		case Send:
			// An answer must not promise an SA that the data plane lacks. Whoever waits for this will try again.
			if !installed {
				continue
			}
			if err := l.send(o.To, o.Msg); err != nil {
				l.log.WithError(err).WithField("addr", o.To).Debug("handshake message not sent")
			}
		case Probe:
			l.probe(o.Peer)
		case Keepalive:
			l.keepalive(o.To)
		case NeedSnapshot:
			l.needSnapshot()
		}
	}
}
