// Package xfrm is the kernel data plane: it programs the kernel's IPsec and stays out of the packets' way.
//
//	 router namespace        10.42.7.9/32 dev ms-1a2b3c4d ─► ms-1a2b3c4d (xfrm interface, if_id N)
//	─────────────────────────────────────────────────────────────│─────────────────────────────────────
//	 host namespace    policy out if_id N ─► tmpl src us dst peer spi S ─► SA (dst peer, spi S, if_id N) ─► underlay
//	                   policies in, fwd if_id N ◄─ SAs (dst us, if_id N)                                 ◄─ underlay
//
// Each peer has one xfrm interface. It is made in the host's namespace, whose SAs and policies it therefore uses, and moved
// into the router's, where it is the only road to the peer. Without an SA or a policy the kernel drops what is routed
// into it (net/xfrm/xfrm_interface_core.c, xfrmi_xmit2); there is no state in which a packet goes out in the clear. The
// move scrubs the secpath of what was decrypted, so the router's strict reverse-path filter applies to it: a peer is
// believed only for the addresses that are routed to it.
//
// Set lists what the kernel holds, plans the difference (a pure function), and carries the steps out. Only what bears a
// mark of package link is touched: if_ids from link.IfIDBase on with a reqid that is the same, interfaces with
// link.TunnelPrefix. Run looks every second or so and puts right what others have changed.
//
//	Config ─► resolve, assign ─► meet ─► wanted ─► plan ─► round
//	          names, if_ids      │         ▲                 ▼
//	                            list ──────┘               apply
//
// An SA is given to the kernel once. If it is gone, it is reported as used up, and the handshake makes another: sequence
// numbers that begin anew would use a nonce twice. What an earlier agent has left for a peer is adopted, that is, left in
// force until there is something in its place.
package xfrm
