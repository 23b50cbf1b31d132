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
// # Marks
//
// Ours are the SAs and policies in the host's namespace that have an if_id of link.IfIDBase and the 65,535 numbers after it
// and the same number as reqid, or an if_id of one of our devices, and the devices in the router's namespace whose names
// begin with link.TunnelPrefix. Nothing else is changed; it is read, to keep off if_ids that others use. The search for a
// peer's if_id begins at a hash of its host ID. The kernel itself refuses a second interface with the same if_id, in
// whatever namespace the first one is, which is why a device is made before anything that bears its number.
//
// # Converging
//
// Set lists what the kernel holds, plans the difference (a pure function), and carries the steps out, in batches of netlink
// messages, going on after one that fails. An answer that is lost is no failure and no success: the next list tells. Lists
// that the kernel says have changed meanwhile are read again. Run looks every second or so and puts right what others have
// changed.
//
//	Config ─► resolve, assign ─► meet ─► wanted ─► plan ─► round
//	          names, if_ids      │         ▲                 ▼
//	                            list ──────┘               apply
//
// An SA is given to the kernel once. If it is gone, it is reported as used up, and the handshake makes another: sequence
// numbers that begin anew would use a nonce twice.
//
// # Adoption
//
// What an earlier agent has left for a peer stays in force until there is something in its place: the outbound policy and
// its SA until there is a new outbound SA, inbound SAs until the new pair is known to work in both directions and for half
// a minute more. What is left for hosts that are no peers any more goes with the first Set.
//
// # Events
//
// SPIConfirmed comes from counters, which are read ten times a second while a first packet is expected. SPISoftLimit and
// SPILimit come from the kernel (XFRM_MSG_EXPIRE), which has the limits with each SA, and from the counters of each look, in
// case the kernel's word was lost; the hard limit holds without an agent, too. PeerMoved comes from the kernel, for ESP in
// UDP (XFRM_MSG_MAPPING): an authentic packet had another source than the SA. The inbound SA takes packets from anywhere and
// goes on, the outbound one is used up, because the kernel can't send it elsewhere. There is no UnknownSPI: the kernel counts
// such packets and says no more of them.
package xfrm
