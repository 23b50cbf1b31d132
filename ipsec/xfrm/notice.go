package xfrm

import (
	"context"
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
)

// notice is what the kernel tells unasked about an SA.
type notice struct {
	key   stateKey
	reqid uint32 // its if_id, if it is ours
	what  occurrence
	from  netip.AddrPort // peerMoved: where an authentic packet came from
}

type occurrence uint8

const (
	softLimit occurrence = iota + 1
	hardLimit            // the kernel has deleted the SA
	peerMoved
)

// Offsets in struct xfrm_user_mapping (include/uapi/linux/xfrm.h), and its size.
const (
	mappingSPI    = 16
	mappingFamily = 20
	mappingReqid  = 24
	mappingAddr   = 44
	mappingPort   = 62
	mappingSize   = 64
)

// parseNotice decodes XFRM_MSG_EXPIRE and XFRM_MSG_MAPPING.
func parseNotice(kind uint16, b []byte) (n notice, ok bool) {
	switch {
	case kind == nl.XFRM_MSG_EXPIRE && len(b) >= nl.SizeofXfrmUserExpire:
		s, ok := parseState(b[:nl.SizeofXfrmUsersaInfo])
		n = notice{key: s.key, reqid: s.reqid, what: softLimit}
		if b[nl.SizeofXfrmUsersaInfo] != 0 {
			n.what = hardLimit
		}
		return n, ok
	case kind == nl.XFRM_MSG_MAPPING && len(b) >= mappingSize:
		family := binary.NativeEndian.Uint16(b[mappingFamily:])
		addr := func(at int) netip.Addr { return parseAddress(nl.XfrmAddress(b[at:at+16]), family) }
		return notice{
			key:   stateKey{addr(0), ipsec.SPI(binary.BigEndian.Uint32(b[mappingSPI:]))},
			reqid: binary.NativeEndian.Uint32(b[mappingReqid:]), what: peerMoved,
			from: netip.AddrPortFrom(addr(mappingAddr), binary.BigEndian.Uint16(b[mappingPort:])),
		}, true
	}
	return n, false
}

func (k *netlinkKernel) notices(ctx context.Context, fn func(notice)) error {
	return k.HostNotices(ctx, unix.NETLINK_XFRM, []int{nl.XFRMNLGRP_EXPIRE, nl.XFRMNLGRP_MAPPING}, func(kind uint16, body []byte) {
		if n, ok := parseNotice(kind, body); ok {
			fn(n)
		}
	})
}

// heed takes what the kernel has told. What it says of limits is only sooner than the counters do.
func (p *Plane) heed(n notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byIfID[n.reqid]
	if e == nil {
		return
	}
	a := e.association(n.key)
	if a == nil || a.stage != installed {
		return
	}
	switch n.what {
	case softLimit:
		p.softened(e, a)
	case hardLimit:
		a.stage = spent
		p.report(p.now())
	case peerMoved:
		p.strayed(e, a, n.from)
	}
}

// association finds an SA of the peer; nil: it is none of the config.
func (e *peer) association(k stateKey) *association {
	for _, a := range e.in {
		if a.key == k {
			return a
		}
	}
	if e.out != nil && e.out.key == k {
		return e.out
	}
	return nil
}
