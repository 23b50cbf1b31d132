package xfrm

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/link"
)

// actionAllow is XFRM_POLICY_ALLOW: what matches is sealed, or must have been, as the template says.
const actionAllow = 0

// set encodes a policy that is added or takes the place of what is there.
func (p policy) set(k policyKey) link.Message {
	info := nl.XfrmUserpolicyInfo{Sel: everything(), Lft: forever(), Dir: uint8(k.Dir), Action: actionAllow}
	tmpl := nl.XfrmUserTmpl{
		XfrmId: nl.XfrmId{Daddr: address(p.Dst), Spi: nl.Swap32(uint32(p.SPI)), Proto: unix.IPPROTO_ESP},
		Family: family(p.Dst), Saddr: address(p.Src), Reqid: k.IfID, Mode: modeTunnel,
		Aalgos: ^uint32(0), Ealgos: ^uint32(0), Calgos: ^uint32(0),
	}
	b := append([]byte(nil), info.Serialize()...)
	b = link.Attr(b, nl.XFRMA_TMPL, tmpl.Serialize())
	b = link.Attr(b, nl.XFRMA_IF_ID, u32(k.IfID))
	return link.Message{Kind: nl.XFRM_MSG_UPDPOLICY, Body: b}
}

func (k policyKey) del() link.Message {
	id := nl.XfrmUserpolicyId{Sel: everything(), Dir: uint8(k.Dir)}
	b := append([]byte(nil), id.Serialize()...)
	return link.Message{Kind: nl.XFRM_MSG_DELPOLICY, Body: link.Attr(b, nl.XFRMA_IF_ID, u32(k.IfID))}
}

// listedPolicy is a policy of anybody's.
type listedPolicy struct {
	key policyKey
	policy
	reqid uint32
	all   bool // it has our selector
}

func parsePolicy(b []byte) (p listedPolicy, ok bool) {
	if len(b) < nl.SizeofXfrmUserpolicyInfo {
		return p, false
	}
	info := *nl.DeserializeXfrmUserpolicyInfo(b)
	p.key.Dir, p.all = direction(info.Dir), info.Sel == everything()
	if p.key.Dir > fwd { // of a socket
		return p, false
	}
	usual := info.Action == actionAllow
	templates := 0
	link.Attrs(b[nl.SizeofXfrmUserpolicyInfo:], func(kind uint16, v []byte) {
		switch {
		case kind == nl.XFRMA_IF_ID && len(v) == 4:
			p.key.IfID = binary.NativeEndian.Uint32(v)
		case kind == nl.XFRMA_MARK:
			p.all = false
		case kind == nl.XFRMA_TMPL:
			templates = len(v) / nl.SizeofXfrmUserTmpl
			if templates == 0 {
				return
			}
			var tmpl nl.XfrmUserTmpl
			copy((&tmpl).Serialize(), v)
			p.reqid = tmpl.Reqid
			p.Src, p.Dst = parseAddress(tmpl.Saddr, tmpl.Family), parseAddress(tmpl.XfrmId.Daddr, tmpl.Family)
			p.SPI = ipsec.SPI(nl.Swap32(tmpl.XfrmId.Spi))
			usual = usual && tmpl.XfrmId.Proto == unix.IPPROTO_ESP && tmpl.Mode == modeTunnel && tmpl.Optional == 0
		}
	})
	if !usual || templates != 1 {
		p.policy = policy{}
	}
	return p, true
}

// listPolicies lists the policies; ours are told as in listStates. One with another selector was never ours.
func listPolicies(n *link.Netlink, inv *inventory, mine map[uint32]bool) error {
	return n.Dump(link.Message{Kind: nl.XFRM_MSG_GETPOLICY}, func() { clear(inv.Policies) }, func(b []byte) {
		p, ok := parsePolicy(b)
		switch {
		case !ok || !inRange(p.key.IfID):
		case p.all && (p.reqid == p.key.IfID || mine[p.key.IfID]):
			if p.reqid != p.key.IfID {
				p.policy = policy{}
			}
			inv.Policies[p.key] = p.policy
		default:
			inv.foreign[p.key.IfID] = "a policy"
		}
	})
}
