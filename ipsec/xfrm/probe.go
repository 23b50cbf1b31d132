package xfrm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// probeDevice is the name of the device that Probe makes; what a crash leaves of it is ours by its name.
const probeDevice = link.TunnelPrefix + "probe"

// Probe finds out by doing whether the kernel can be the data plane: it makes an SA of each cipher, policies and an xfrm
// interface in the host's namespace, moves that into the router's, and sends a packet through all of it, over loopback
// and UDP, to itself. All is removed again. The kernel loads the modules that it needs by itself on the way. It returns
// the ciphers that work; the error says what is missing. Not while a Plane is open.
func Probe(r Router, log *logrus.Entry) ([]ipsec.Cipher, error) {
	k, err := openKernel(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = k.close() }()
	p := &probe{kernel: k, log: log}
	if _, err := rand.Read(p.key.Bytes[:]); err != nil {
		return nil, err
	}
	defer p.key.Wipe()
	p.clean() // what a probe that crashed has left
	defer p.clean()
	if err := p.run(); err != nil {
		return nil, fmt.Errorf("kernel plane: %w", err)
	}
	ciphers := []ipsec.Cipher{ipsec.AES256GCM}
	if err := p.addState(ipsec.ChaCha20Poly1305, 0); err != nil {
		log.WithError(err).Info("the kernel has no chacha20-poly1305, pairs of hosts that prefer it use aes-256-gcm")
	} else {
		ciphers = append(ciphers, ipsec.ChaCha20Poly1305)
	}
	return ciphers, nil
}

type probe struct {
	kernel *netlinkKernel
	log    *logrus.Entry
	key    ipsec.Key
}

var loopback = netip.MustParseAddr("127.0.0.1")

// probeSPI numbers the probe's SAs by cipher; to loopback, they meet nobody else's.
func probeSPI(c ipsec.Cipher) stateKey { return stateKey{loopback, 0x6d730000 | ipsec.SPI(c)} }

func (p *probe) run() error {
	if err := p.states(); err != nil {
		return err
	}
	if err := p.device(); err != nil {
		return err
	}
	return p.packet()
}

// states tries an SA without and with UDP encapsulation.
func (p *probe) states() error {
	err := p.addState(ipsec.AES256GCM, 0)
	switch {
	case err == nil:
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("no CAP_NET_ADMIN in the host's network namespace: %w", err)
	case errors.Is(err, unix.EPROTONOSUPPORT) && p.list() != nil:
		return fmt.Errorf("the kernel has no IPsec (xfrm_user, CONFIG_XFRM_USER): %w", err)
	case p.addNull() == nil:
		return fmt.Errorf("the kernel has no AES-GCM for ESP (rfc4106(gcm(aes)): modules gcm, aes, ghash, seqiv): %w", err)
	default:
		return fmt.Errorf("the kernel has no ESP (esp4, CONFIG_INET_ESP): %w", err)
	}
	p.delState(ipsec.AES256GCM)
	if err := p.addState(ipsec.AES256GCM, unix.IPPROTO_UDP); err != nil {
		return fmt.Errorf("the kernel has no ESP in UDP (encap espinudp): %w", err)
	}
	p.delState(ipsec.AES256GCM)
	return nil
}

// list tells whether the kernel can be asked for its SAs.
func (p *probe) list() error {
	return with(p.kernel.HostNetlink, unix.NETLINK_XFRM, func(*link.Netlink) error { return nil })
}

// addState adds an SA to loopback that both seals and opens; with a port in UDP.
func (p *probe) addState(c ipsec.Cipher, port uint16) error {
	s := state{Src: loopback, IfID: probeIfID, Cipher: c, SrcPort: port, DstPort: port, Window: inWindow}
	return p.xfrm(step{Verb: addState, StateKey: probeSPI(c), State: s})
}

func (p *probe) delState(c ipsec.Cipher) { _ = p.xfrm(step{Verb: delState, StateKey: probeSPI(c)}) }

// addNull adds an SA that needs no more than ESP itself. It carries nothing.
func (p *probe) addNull() error {
	k := probeSPI(0)
	m := nullState(k, loopback, probeIfID)
	return with(p.kernel.HostNetlink, unix.NETLINK_XFRM, func(n *link.Netlink) error {
		var failed error
		err := n.Batch([]link.Message{m}, func(_ int, err error) { failed = err })
		return errors.Join(err, failed)
	})
}

func (p *probe) xfrm(s step) error {
	return p.kernel.applyXfrm([]step{s}, func(stateKey) *ipsec.Key { return &p.key })[0]
}

// device tries policies and an xfrm interface.
func (p *probe) device() error {
	if err := p.kernel.addDevice(device{Name: probeDevice, IfID: probeIfID, MTU: 1280}); err != nil {
		switch {
		case errors.Is(err, unix.EOPNOTSUPP):
			return fmt.Errorf("the kernel has no xfrm interface (xfrm_interface, CONFIG_XFRM_INTERFACE, Linux 4.19): %w", err)
		case errors.Is(err, errTaken):
			return fmt.Errorf("xfrm interface with if_id %#x: %w", probeIfID, err)
		}
		return fmt.Errorf("xfrm interface %s: %w", probeDevice, err)
	}
	for _, dir := range []direction{in, fwd, out} {
		pol := policy{Src: loopback, Dst: loopback}
		if dir == out {
			pol.SPI = probeSPI(ipsec.AES256GCM).SPI
		}
		if err := p.xfrm(step{Verb: setPolicy, Key: policyKey{dir, probeIfID}, Policy: pol}); err != nil {
			return fmt.Errorf("the kernel has no policies by if_id (Linux 4.19): %w", err)
		}
	}
	return nil
}

// clean removes everything that a probe makes.
func (p *probe) clean() {
	d := device{Name: probeDevice}
	_ = do(p.kernel.Netlink, d.del())
	_ = do(p.kernel.HostNetlink, d.del())
	for _, dir := range []direction{in, fwd, out} {
		_ = p.xfrm(step{Verb: delPolicy, Key: policyKey{dir, probeIfID}})
	}
	for _, c := range []ipsec.Cipher{0, ipsec.AES256GCM, ipsec.ChaCha20Poly1305} {
		p.delState(c)
	}
}
