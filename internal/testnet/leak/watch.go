// Package leak watches the whole underlay of test hosts and reports every frame that should not be there: a canary, a container's
// address, or anything but the protocols that hosts need between them.
package leak

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Rules say what may cross the underlay. Everything else is a leak.
type Rules struct {
	Hosts      netip.Prefix   // underlay addresses
	Outside    []netip.Prefix // with these, hosts may speak any protocol (containers' outside access, masqueraded)
	Containers []netip.Prefix // addresses that must never be seen outside of ESP
	UDP, TCP   []uint16       // ports between hosts
	ESP        bool           // IP protocol 50 between hosts
	NAT        bool           // UDP between hosts has any ports: a NAT chooses them

	// Attacker's frames are attacks, not leaks: they are not looked at. By its Ethernet address; nil: there is none.
	Attacker net.HardwareAddr
	// Overhear, if set, is called with every frame that is not the attacker's. It must not keep the slice, nor block.
	Overhear func(frame []byte)
}

// Watch captures until Close. Its methods may be called concurrently.
type Watch struct {
	// Canary is 16 random bytes that payloads carry.
	Canary [16]byte

	rules Rules
	ring  *ring
	wake  int // eventfd that ends the loop
	enter func(func() error) error
	done  chan struct{}

	mu     sync.Mutex
	leaks  []Leak
	flows  map[string]*Flow
	recent [][]byte // the last ESP frames
	marker uint64   // last synchronising frame seen
	synced *sync.Cond
	lost   uint32 // frames the kernel had no room for
	err    error  // why the loop ended, if not by Close
}

// Leak is a frame that should not have crossed.
type Leak struct {
	At    time.Time
	Why   string
	Frame []byte // as captured, at most the first 256 bytes
}

const (
	recentFrames = 64
	etherTest    = 0x88b5 // IEEE 802: local experimental, used to synchronise
)

// Start captures on every link of the namespace that enter runs its argument in.
func Start(enter func(func() error) error, rules Rules) (*Watch, error) {
	w := &Watch{rules: rules, enter: enter, flows: make(map[string]*Flow), done: make(chan struct{})}
	w.synced = sync.NewCond(&w.mu)
	_, _ = rand.Read(w.Canary[:]) // never fails
	var err error
	if w.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	err = enter(func() (err error) {
		w.ring, err = openRing()
		return err
	})
	if err != nil {
		unix.Close(w.wake)
		return nil, fmt.Errorf("capture: %w", err)
	}
	go w.run()
	return w, nil
}

// run reads frames until woken by Close.
func (w *Watch) run() {
	defer close(w.done)
	for {
		more, err := w.ring.read(func(kind uint8, frame []byte) {
			if kind != unix.PACKET_OUTGOING { // each is seen when it enters by a port, and once more on each way out
				w.frame(frame)
			}
		})
		if err == nil && !more {
			more, err = w.ring.wait(w.wake)
			if err == nil && !more {
				return
			}
		}
		if err != nil {
			w.fail(err)
			return
		}
	}
}

func (w *Watch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = fmt.Errorf("capture ended: %w", err)
	w.synced.Broadcast()
}

// Sync returns when every frame sent before it has been looked at.
func (w *Watch) Sync(ctx context.Context) error {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:])
	want := binary.BigEndian.Uint64(nonce[:])
	if err := w.enter(func() error { return sendLoopback(nonce[:]) }); err != nil {
		return fmt.Errorf("capture: synchronise: %w", err)
	}
	stop := context.AfterFunc(ctx, w.synced.Broadcast)
	defer stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.marker != want {
		if err := errors.Join(ctx.Err(), w.err); err != nil {
			return fmt.Errorf("capture: synchronise: %w", err)
		}
		w.synced.Wait()
	}
	drops, err := w.ring.drops()
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	if w.lost += drops; w.lost > 0 {
		return fmt.Errorf("capture: %d frames lost, so nothing is proved", w.lost)
	}
	return nil
}

// Close ends the capture.
func (w *Watch) Close() error {
	_, err := unix.Write(w.wake, binary.NativeEndian.AppendUint64(nil, 1))
	if err == nil {
		<-w.done
	}
	return errors.Join(err, w.ring.close(), unix.Close(w.wake))
}

// sendLoopback sends a synchronising frame to this namespace's own loopback link, whose queue the capture reads like all others.
func sendLoopback(payload []byte) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const loopback = 1 // lo is the first link of every namespace
	return unix.Sendto(fd, payload, 0, &unix.SockaddrLinklayer{Protocol: bigEndian(etherTest), Ifindex: loopback})
}

// bigEndian is a 16-bit number in network order, as the packet socket's fields want it.
func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
