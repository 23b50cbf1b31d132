package tun

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/esp"
)

// outbound is an SA that this host seals with. Only the transmit goroutine calls Seal.
type outbound struct {
	spi ipsec.SPI
	*esp.Sealer
	soft, limit atomic.Bool // reported
	bytes       uint64      // sealed; the transmit goroutine's
}

// spent says that the SA has carried enough to be replaced.
func (o *outbound) spent() bool {
	return o.Used() >= ipsec.SoftPackets || o.bytes >= ipsec.SoftBytes
}

// inbound is an SA that packets come in on. The lock is held while a packet is opened: it keeps Set, which may retire
// the SA, out of the replay window.
type inbound struct {
	spi       ipsec.SPI
	confirmed atomic.Bool // reported

	mu      sync.Mutex
	opener  *esp.Opener
	retired bool
}

// open opens a packet in place.
func (in *inbound) open(packet []byte) ([]byte, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.retired {
		return nil, errRetired
	}
	return in.opener.Open(packet)
}

// retire ends the SA and returns the highest sequence number that was accepted.
func (in *inbound) retire() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.retired = true
	return in.opener.Top()
}

// fingerprint stands for a key without being one: a hash of direction and key.
type fingerprint [sha256.Size]byte

func fingerprintOf(direction byte, k *ipsec.Key) fingerprint {
	return sha256.Sum256(append([]byte{direction}, k.Bytes[:]...))
}

// keepRetired is how long the sequence number of a key that is no longer used is remembered. No key lives longer.
const keepRetired = 48 * time.Hour

// sas holds the state of every SA by its key, so that no Config, whatever comes and goes in it, makes a sequence number
// start again (a nonce would be used twice) or a replay window forget (a packet would be accepted twice). A key that
// comes back goes on where it ended: outbound above the last number used, inbound above the last one accepted.
type sas struct {
	out     map[fingerprint]*outbound
	in      map[fingerprint]*inbound
	retired map[fingerprint]mark
}

type mark struct {
	seq uint64
	at  time.Time
}

func (s *sas) init() {
	s.out, s.in, s.retired = map[fingerprint]*outbound{}, map[fingerprint]*inbound{}, map[fingerprint]mark{}
}

// outbound finds or makes the state of an SA, and notes in used that it is wanted.
func (s *sas) outbound(sa *ipsec.SA, used map[fingerprint]bool) (*outbound, error) {
	f := fingerprintOf('o', &sa.Key)
	if used[f] {
		return nil, fmt.Errorf("outbound SA %s: its key belongs to another SA", sa.SPI)
	}
	if o := s.out[f]; o != nil {
		if o.spi != sa.SPI {
			return nil, fmt.Errorf("outbound SA %s: its key belongs to SA %s", sa.SPI, o.spi)
		}
		used[f] = true
		return o, nil
	}
	sealer, err := esp.NewSealer(uint32(sa.SPI), esp.Transform(sa.Cipher), &sa.Key.Bytes, s.retired[f].seq)
	if err != nil {
		return nil, fmt.Errorf("outbound SA %s: %w", sa.SPI, err)
	}
	o := &outbound{spi: sa.SPI, Sealer: sealer}
	s.out[f] = o
	used[f] = true
	return o, nil
}

// inbound finds or makes the state of an SA, and notes in used that it is wanted.
func (s *sas) inbound(sa *ipsec.SA, used map[fingerprint]bool) (*inbound, error) {
	f := fingerprintOf('i', &sa.Key)
	if used[f] {
		return nil, fmt.Errorf("inbound SA %s: its key belongs to another SA", sa.SPI)
	}
	if in := s.in[f]; in != nil {
		if in.spi != sa.SPI {
			return nil, fmt.Errorf("inbound SA %s: its key belongs to SA %s", sa.SPI, in.spi)
		}
		used[f] = true
		return in, nil
	}
	opener, err := esp.NewOpener(uint32(sa.SPI), esp.Transform(sa.Cipher), &sa.Key.Bytes, s.retired[f].seq)
	if err != nil {
		return nil, fmt.Errorf("inbound SA %s: %w", sa.SPI, err)
	}
	in := &inbound{spi: sa.SPI, opener: opener}
	s.in[f] = in
	used[f] = true
	return in, nil
}

// retire ends every SA that is not used. The table without them must have been published.
func (s *sas) retire(used map[fingerprint]bool, now time.Time) {
	for f, o := range s.out {
		if !used[f] {
			s.retired[f] = mark{o.Retire(), now}
			delete(s.out, f)
		}
	}
	for f, in := range s.in {
		if !used[f] {
			s.retired[f] = mark{in.retire(), now}
			delete(s.in, f)
		}
	}
	for f, m := range s.retired {
		if now.Sub(m.at) > keepRetired {
			delete(s.retired, f)
		}
	}
}

func (s *sas) retireAll() { s.retire(nil, time.Now()) }
