package xfrm

import (
	"cmp"

	"github.com/vishvananda/netlink/nl"

	"github.com/meshsec/meshsec/ipsec"
)

// lifetime bounds what an SA carries (struct xfrm_lifetime_cfg). After a soft limit the kernel says so and goes on; after
// the hard one it deletes the SA, also when no agent is there. 0 is no limit.
type lifetime struct {
	SoftPackets, SoftBytes uint64 // bytes of inner packets, because that is what the kernel counts
	HardPackets            uint64
}

// usualLife is that of an outbound SA, without jitter.
var usualLife = lifetime{SoftPackets: ipsec.SoftPackets, SoftBytes: ipsec.SoftBytes, HardPackets: 1 << 32}

const (
	// softJitter is by which part of it a soft limit comes earlier at most, so that a thousand peers that were keyed at
	// once and share a load are not replaced at once.
	softJitter = 16
	// hardMargin is by which part of it an SA counts as used up before its hard limit: it must hold what is sealed between
	// two looks, should the kernel's word be lost.
	hardMargin = 256
)

// of is the lifetime of one SA; both ends of it compute the same. Only what seals has a hard limit.
func (l lifetime) of(spi ipsec.SPI, out bool) lifetime {
	early := func(v uint64) uint64 { return v - v/softJitter*(uint64(spi)&0xffff)/0xffff }
	l.SoftPackets, l.SoftBytes = early(l.SoftPackets), early(l.SoftBytes)
	if !out {
		l.HardPackets = 0
	}
	return l
}

// soft tells whether an SA that has carried so much is due to be replaced.
func (l lifetime) soft(c counter) bool {
	return reached(c.Packets, l.SoftPackets) || reached(c.Bytes, l.SoftBytes)
}

// hard tells whether it can't be used any more.
func (l lifetime) hard(c counter) bool {
	return reached(c.Packets, l.HardPackets-l.HardPackets/hardMargin)
}

func reached(count, limit uint64) bool { return limit != 0 && count >= limit }

// forever are limits that are never reached.
func forever() nl.XfrmLifetimeCfg { return lifetime{}.encode() }

func (l lifetime) encode() nl.XfrmLifetimeCfg {
	or := func(v uint64) uint64 { return cmp.Or(v, nl.XFRM_INF) }
	return nl.XfrmLifetimeCfg{SoftByteLimit: or(l.SoftBytes), HardByteLimit: nl.XFRM_INF, SoftPacketLimit: or(l.SoftPackets), HardPacketLimit: or(l.HardPackets)}
}

func parseLifetime(c nl.XfrmLifetimeCfg) lifetime {
	or := func(v uint64) uint64 {
		if v == nl.XFRM_INF {
			return 0
		}
		return v
	}
	return lifetime{SoftPackets: or(c.SoftPacketLimit), SoftBytes: or(c.SoftByteLimit), HardPackets: or(c.HardPacketLimit)}
}
