package esp

import "encoding/binary"

// Opener is the receiving side of one SA with its replay window. Open has one caller at a time.
type Opener struct {
	keyed
	window Window
}

// NewOpener makes the receiving side of an SA that accepts sequence numbers above after. A fresh key starts after 0; a
// key that was in use in this process goes on after the former Opener's Top, so that nothing is accepted twice.
func NewOpener(spi uint32, t Transform, key *[KeySize]byte, after uint64) (*Opener, error) {
	k, err := newKeyed(spi, t, key)
	if err != nil {
		return nil, err
	}
	o := &Opener{keyed: k}
	o.window.Reset(after)
	return o, nil
}

// Top is the highest sequence number that was accepted.
func (o *Opener) Top() uint64 { return o.window.Top() }

// Open authenticates and decrypts packet in place and returns the inner packet, a part of packet. What stands behind
// the inner packet's own total length (traffic flow confidentiality, RFC 4303 section 2.7) is left in it. The replay
// window is asked first and changed only once the packet has proved authentic (RFC 4303, section 3.4.3). After an
// error packet holds garbage. Errors: ErrShort, ErrOld, ErrReplay, ErrICV, ErrPadding, ErrNextHeader, ErrDummy.
func (o *Opener) Open(packet []byte) ([]byte, error) {
	if len(packet) < MinSize {
		return nil, ErrShort
	}
	seq, ok := extend(o.window.Top(), binary.BigEndian.Uint32(packet[4:]))
	if !ok {
		return nil, ErrOld
	}
	if err := o.window.Check(seq); err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint64(o.aad[4:], seq)
	copy(o.nonce[4:], packet[8:HeaderSize])
	sealed := packet[HeaderSize:]
	plain, err := o.aead.Open(sealed[:0], o.nonce[:], sealed, o.aad[:])
	if err != nil {
		return nil, ErrICV
	}
	o.window.Update(seq)
	return trim(plain)
}

// trim checks the trailer of an authentic packet and cuts it off.
func trim(plain []byte) ([]byte, error) {
	n := len(plain) - 2
	pad := int(plain[n])
	if pad > n {
		return nil, ErrPadding
	}
	for i, b := range plain[n-pad : n] {
		if b != byte(i+1) {
			return nil, ErrPadding
		}
	}
	switch plain[n+1] {
	case nextIPv4:
		return plain[:n-pad], nil
	case nextDummy:
		return nil, ErrDummy
	}
	return nil, ErrNextHeader
}
