// Package handshake is the key exchange between two hosts: one round trip that gives both a fresh pair of ESP SAs, and
// the rules by which the pairs replace each other. Machine holds all of it without I/O and without a clock; Loop is the
// goroutine around it.
//
// # Wire format
//
// Every message goes behind the non-ESP marker of RFC 3948, section 2.2 (four zero bytes, which the socket adds and
// removes), in one datagram, or in two when it is longer than 1200 bytes. Numbers are big-endian. Each datagram starts with:
//
//	byte   0      type: 1 init, 2 response, 3 cookie, 4 init with cookie
//	byte   1      version: 2
//	byte   2      part, from 0
//	byte   3      parts: 1 or 2; of two, the first datagram has 1200 bytes
//	bytes  4-7    sender's index: random, the same in both parts of a message
//	bytes  8-11   receiver's index: in a response or cookie the sender's index of the init, in an init zero
//	bytes 12-27   MAC: first 16 bytes of HMAC-SHA256 over bytes 0-11 and 28 to the end,
//	              key: SHA-256("meshsec mac" | receiver's X25519 public key); in a cookie zero
//	bytes 28-     the part's share of the Noise message
//
// In type 4 a second MAC of 16 bytes stands before that share: HMAC-SHA256 over bytes 0-11 and 44 to the end, key: the
// cookie. A cookie is one datagram and answers an init; its body is
//
//	bytes  0-23   nonce, random
//	bytes 24-55   cookie of 16 bytes, sealed with XChaCha20-Poly1305, additional data: bytes 0-11 of the datagram,
//	              key: SHA-256("meshsec cookie" | its sender's X25519 public key)
//
// The Noise protocol is Noise_IKpsk2_25519_AESGCM_SHA256, prologue "meshsec" | version | environment, psk a PPK or 32
// zero bytes, which are the PPK of hosts that have none. The init is its first message:
//
//	bytes  0-31   ephemeral key
//	bytes 32-79   sender's static key, sealed
//	bytes 80-     payload, sealed (16 bytes longer):
//	  bytes  0-7     generation that the sender proposes
//	  bytes  8-11    SPI to use towards the sender
//	  bytes 12-1195  ML-KEM-768 encapsulation key (FIPS 203)
//	  byte   1196    number of ciphers, then two bytes for each (ipsec.Cipher), the preferred one first
//	  then           length (one byte) and bytes of the sender's host ID, then of the receiver's
//	  then           address (IPv4 mapped into IPv6) and port that the init is sent to, 18 bytes
//	  then           if the sender has a PPK: number of those that it accepts (1 to 4), the preferred one first, 8 bytes of
//	                 each: HMAC-SHA256 over "meshsec ppk" | ML-KEM-768 encapsulation key of this init, key: the PPK
//	  then           nothing yet; what a later version puts here is ignored
//
// The responder takes the first PPK in the init that is one of its own, and does not answer if there is none; it then knows
// why. The names are new in each init, and sealed: nobody but the two hosts can tell whether PPKs agree or change.
//
// The response is its second message and fits one datagram:
//
//	bytes  0-31   ephemeral key
//	bytes 32-     payload, sealed (16 bytes longer):
//	  bytes  0-7     generation of the pair
//	  bytes  8-11    SPI to use towards the responder
//	  bytes 12-13    the cipher chosen
//	  bytes 14-1101  ML-KEM-768 ciphertext
//	  bytes 1102-1117  address that the init came from (IPv4 mapped into IPv6)
//	  bytes 1118-1119  and its port
//	  bytes 1120-1123  SPI towards the initiator that the responder sends on at present; zero: none
//	  then           nothing yet; what a later version puts here is ignored
//
// # Strangers and floods
//
// A datagram without a good MAC is never answered, and its cost is that MAC. More than 256 datagrams of inits within a second
// are load: until a second with less is over, inits without a cookie go no further. Their first part is answered with a
// cookie, which is shorter (8192 a second for strangers, any number for the addresses of peers), the others not at all. A
// cookie is a MAC over the asker's address and port with a secret that is replaced every 2 minutes and known to be the
// former one for 2 more, as in WireGuard. What has a cookie has 20 datagrams a second for each address, and those that are
// no peer's have 2048 together. The initiator sends another init with the cookie at once, and with all inits of the next 2
// minutes. The same cookie is asked for, load or not, while a pair that this peer has begun is unconfirmed: so a replay
// from an invented address makes one pending pair at most.
//
// # Keys
//
// Key and salt of a direction are 36 bytes of HKDF-SHA256 (RFC 5869):
//
//	salt  the Noise handshake hash
//	input the two keys of the Noise split (initiator's sending key first) | ML-KEM shared secret, 96 bytes
//	info  "meshsec esp" | direction (1: from the initiator, 2: to it) | length and bytes of the initiator's host ID |
//	      the same of the responder's | SPI (4 bytes) | cipher (2 bytes)
//
// # Where a peer is
//
// A peer is where its last authentic packet came from (a response, the packet that confirms a pair, and what the data plane
// tells of the pair in use, ipsec.PeerMoved), until its fact changes. An init alone moves nobody: it may be a replay. Its
// response goes to where it came from all the same. When nothing comes back though the tunnel is probed (ipsec.PeerSilent), or
// when other hosts see the peer elsewhere, a handshake begins. Response and init tell the other side how it is seen; if not at an
// address of its own, there is a NAT between, to which a keepalive goes every 20 s.
//
// Inits without an answer go in turn to where the peer was seen, to the addresses at which other hosts see it and to its own; the
// back-off grows with each round. To all the others a keepalive goes at the same time: it opens this host's
// NAT for what comes from there. As both hosts do so, the init of one passes when both NATs are open.
//
// # Which pair is used
//
// A pair is the two SAs that one handshake made. The responder installs its inbound SA before it answers, so the initiator
// may use its outbound one as soon as it has the answer; the responder uses its outbound one once a packet has come in on
// the pair, which also proves that the init was no replay.
//
// Pairs are ordered by generation, which both hosts know: the initiator proposes one more than the newest that it knows of
// this peer, the responder raises that to one more than the newest it knows. Handshakes that crossed get the same
// generation; of those the one that the smaller host ID began is the higher. Each host sends on the highest pair it may
// use and never goes back to a lower one; when a packet has come in on a pair, the inbound SAs of all lower ones are kept
// for a grace of 30 s and then erased. So both end on the same pair, whatever was lost, doubled or late, and nothing is
// sent on an SA that its receiver does not hold, unless the receiver was restarted:
//
//	initiator                                  responder
//	begin                ── init ──►           inbound installed, answer      (pending: 30 s)
//	both installed       ◄── response ──
//	probe                ── ESP ──►            outbound switched, probe       (confirmed)
//	confirmed            ◄── ESP ──
//
// A pair is replaced when it is an hour old, up to six minutes earlier by a jitter that both hosts compute from its SPIs, or
// when a data plane has counted 2^31 packets or 2^37 bytes on one of its SAs (ipsec.SPISoftLimit). The smaller host ID
// begins; the larger one does so five seconds later if nothing has come of it. Both may, since the pairs are ordered.
// Until the new pair is confirmed the old one is used, up to its hard limits: 24 hours, and 2^32 packets (ipsec.SPILimit).
//
// The Spin model of these rules is in model/handshake.pml; `make model` checks it.
//
// An unconfirmed outbound SA is given up 25 s after its init was sent, before the responder's 30 s can end.
package handshake
