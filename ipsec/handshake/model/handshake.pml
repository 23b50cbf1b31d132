/*
 * The handshake between two hosts and the rules by which pairs of SAs replace each other, as in package handshake: its
 * functions and states have the same names here. Checked by `make model`.
 *
 * The network loses, doubles and reorders. Either host may be restarted, both begin when they like, pairs are replaced, and
 * an attacker sends recorded inits to either host for ever. How many troubles come is bounded below, as is the generation
 * that the attacker can push a host to.
 *
 * Time is left out: whatever waits for a timer may happen at any moment. Three relations are assumed, each where it
 * is used: unconfirmedLife ends before pendingLife, no packet takes as long as oldGrace, and
 * none of before a restart arrives after it (else the other host may go back to a pair of before the restart for some seconds,
 * until an unknown SPI tells: the model finds that).
 * Left out are limits of memory (maxPending, maxInbound), maxAge, the load, and where hosts are.
 *
 * scripts/model says which troubles are tried in which run; `working` is proved with the attacker and crossing starts, without
 * other troubles, and the assertions with one trouble of each kind (restarts: as far as a minute goes).
 *
 * Properties:
 *   no SA is used before its receiver has it, or after, unless the receiver was restarted   (assert in check)
 *   nobody goes back to a lower pair, and no erased key is used again                       (assert in adopt)
 *   no key is installed twice                                                               (assert in insert)
 *   no pair of hosts stays without a working SA, under weak fairness                        (ltl working)
 */

/* The troubles of a run: how many, and of which kinds (a sum). */
#ifndef TROUBLES
#define TROUBLES 1
#endif
#define LOSS    1  /* a message is lost */
#define DOUBLE  2  /* a response comes twice */
#define RESTART 4  /* of either host */
#define REKEY   8  /* begun by either host */
#define EARLY   16 /* a timer ends while what it waits for is still on its way */
#ifndef KINDS
#define KINDS   31
#endif
#define may(kind) (troubles < TROUBLES && (KINDS & kind))

#define A 0     /* the smaller host ID */
#define B 1
#define PAIRS 4 /* that exist at once, 1 to PAIRS; 0: none */
#ifndef CAP
#define CAP 2   /* generation that the attacker can push a host to */
#endif
#define TOP 14  /* never reached */

#define other(x) (1 - (x))
#define above(p, q) (pair[p].generation > pair[q].generation || \
	(pair[p].generation == pair[q].generation && pair[p].smaller && !pair[q].smaller))

/* What a host knows of a pair. pending: begun by the other, not proven; made: begun here, may be sent on, not proven. */
mtype = { none, pending, made, confirmed };

typedef Pair {
	byte generation; bit smaller; /* its rank */
	bit begunBy;
	bit fresh;                    /* the init that it answers is still outstanding */
	bit response;                 /* on its way */
	byte sending                  /* in the response: what the responder sends on */
}
Pair pair[PAIRS + 1];

typedef View {
	mtype state;
	bit mute;      /* its outbound SA was erased */
	bit installed; /* once, since the pair was made */
	bit lost;      /* by a restart */
	bit esp        /* a packet that this host sealed on it is on its way */
}
typedef Peer {
	byte generation;
	byte out;
	bit began;     /* an init is outstanding */
	byte proposed; /* its generation */
	bit cookie;    /* the other has asked for it */
	bit proven;    /* the outstanding init carries it */
	bit due;       /* a handshake is due, though there is a pair: rekey, silence, an unknown SPI */
	bit onway;     /* the outstanding init is on its way */
	bit asked;     /* a cookie for the outstanding init is on its way */
	bit recorded;  /* the attacker has an init of this host */
	byte record;   /* its generation */
	bit replayed;  /* a pending pair that nobody else has, of an init that was replayed or came late */
	View view[PAIRS + 1]
}
Peer host[2];
byte troubles;

#define V(x, p) host[x].view[p]

/* proved: packets come in on the pair in use, so nothing is due by itself. */
#define proved(x) (host[x].out && V(x, host[x].out).state == confirmed)

/* check: what is sent on is held by its receiver. */
inline check() {
	assert(host[A].out == 0 || V(B, host[A].out).state != none || V(B, host[A].out).lost);
	assert(host[B].out == 0 || V(A, host[B].out).state != none || V(A, host[B].out).lost)
}

/* old: a higher pair is confirmed. Such a pair goes as soon as none of its packets is on its way to x: the worst case of
 * oldGrace, which is longer than any packet takes. */
#define old(x, p) ( \
	(V(x, 1).state == confirmed && above(1, p)) || (V(x, 2).state == confirmed && above(2, p)) || \
	(V(x, 3).state == confirmed && above(3, p)) || (V(x, 4).state == confirmed && above(4, p)))
inline expireOld(x, p) {
	if
	:: V(x, p).state != none && !V(other(x), p).esp && old(x, p) -> gone(x, p)
	:: else
	fi
}
inline gone(x, p) {
	V(x, p).state = none; V(x, p).mute = 1;
	if :: host[x].out == p -> host[x].out = 0 :: else fi
}

/* release makes pair slots free again that nobody holds and nothing on its way belongs to. */
inline release(p) {
	if
	:: V(A, p).state == none && V(B, p).state == none && !V(A, p).esp && !V(B, p).esp && !pair[p].response ->
		pair[p].generation = 0; pair[p].smaller = 0; pair[p].begunBy = 0; pair[p].fresh = 0; pair[p].sending = 0;
		V(A, p).installed = 0; V(B, p).installed = 0; V(A, p).lost = 0; V(B, p).lost = 0; V(A, p).mute = 0; V(B, p).mute = 0
	:: else
	fi
}

inline sweep() {
	d_step {
		expireOld(A, 1); expireOld(A, 2); expireOld(A, 3); expireOld(A, 4);
		expireOld(B, 1); expireOld(B, 2); expireOld(B, 3); expireOld(B, 4);
		release(1); release(2); release(3); release(4)
	}
}

/* cancel gives up the outstanding init: its response will not be accepted, and it may still come, as a replay does. */
inline stale(x, p) { if :: pair[p].begunBy == x -> pair[p].fresh = 0 :: else fi }
inline cancel(x) {
	d_step {
		host[x].began = 0; host[x].proposed = 0; host[x].proven = 0; host[x].asked = 0; host[x].onway = 0;
		stale(x, 1); stale(x, 2); stale(x, 3); stale(x, 4)
	}
}

/* begin sends a fresh init in place of the one that may be outstanding. */
inline begin(x) {
	cancel(x);
	host[x].began = 1; host[x].due = 0;
	host[x].proposed = host[x].generation + 1;
	assert(host[x].proposed < TOP);
	host[x].proven = host[x].cookie;
	host[x].onway = 1;
	host[x].recorded = 1; host[x].record = host[x].proposed
}

/* insert adds pair p to what x holds. */
inline insert(x, p, s) {
	assert(!V(x, p).installed);
	V(x, p).installed = 1; V(x, p).state = s;
	if :: pair[p].generation > host[x].generation -> host[x].generation = pair[p].generation :: else fi
}

inline silence(x, p, q) { if :: V(x, q).state != none && above(p, q) -> V(x, q).mute = 1 :: else fi }

/* adopt makes p the pair that x sends on, for good. */
inline adopt(x, p) {
	assert(!V(x, p).mute && (host[x].out == 0 || host[x].out == p || above(p, host[x].out)));
	d_step { host[x].out = p; silence(x, p, 1); silence(x, p, 2); silence(x, p, 3); silence(x, p, 4) }
}

inline settle(x) { cancel(x); host[x].due = 0; host[x].cookie = 0 }

#define isPending(y) (host[y].replayed || V(y, 1).state == pending || V(y, 2).state == pending || \
	V(y, 3).state == pending || V(y, 4).state == pending)
#define isFree(p) (V(A, p).state == none && V(B, p).state == none && !V(A, p).esp && !V(B, p).esp && !pair[p].response)

/* receiveInit at y: the outstanding one of the other host. */
inline receiveInit(y) {
	if
	:: isPending(y) && !host[other(y)].proven -> host[other(y)].asked = 1 /* answered with a cookie only */
	:: else ->
		if
		:: isFree(1) -> p = 1
		:: else -> if :: isFree(2) -> p = 2 :: else -> if :: isFree(3) -> p = 3 :: else -> if :: isFree(4) -> p = 4 :: else fi fi fi
		fi;
		if
		:: p ->
			pair[p].begunBy = other(y); pair[p].smaller = (other(y) == A);
			pair[p].generation = host[y].generation + 1;
			if :: host[other(y)].proposed > pair[p].generation -> pair[p].generation = host[other(y)].proposed :: else fi;
			assert(pair[p].generation < TOP);
			pair[p].fresh = 1; pair[p].response = 1; pair[p].sending = host[y].out;
			insert(y, p, pending)
		:: else /* as if lost */
		fi
	fi;
	p = 0
}

/* replay at y: of an init of the other host without a cookie. Only the generation and the pending pair are left of it. */
inline replay(y) {
	if :: host[y].generation < CAP -> host[y].generation++ :: else fi;
	if :: host[other(y)].record > host[y].generation -> host[y].generation = host[other(y)].record :: else fi;
	host[y].replayed = 1
}

/* confirm notes that the other host sends on p. */
inline confirm(x, p) { if :: V(x, p).state != none -> V(x, p).state = confirmed :: else fi }

/* receiveResponse at x completes its handshake. */
inline receiveResponse(x, p) {
	if
	:: host[x].began && pair[p].fresh ->
		confirm(x, pair[p].sending);
		cancel(x);
		insert(x, p, made);
		adopt(x, p)
	:: else
	fi
}

/* Confirmed: a packet on p was opened at x. */
inline Confirmed(x, p) {
	if
	:: V(x, p).state == confirmed && host[x].out == p -> skip
	:: else ->
		confirm(x, p);
		if
		:: V(x, p).mute -> skip
		:: else -> if :: host[x].out != p -> adopt(x, p) :: else fi; settle(x)
		fi
	fi
}

/* UnknownSPI: a packet came in on no SA that x holds. */
inline UnknownSPI(x) { if :: proved(x) -> host[x].due = 1 :: else fi /* else one is due already */ }

/* receive takes handshake messages to x from the network. */
proctype receive(bit x) {
	byte p;
	do
	:: atomic { host[other(x)].onway -> host[other(x)].onway = 0; receiveInit(x); sweep(); check() }
	:: atomic { host[x].asked -> host[x].asked = 0; /* receiveCookie */
		if :: !host[x].cookie -> host[x].cookie = 1; begin(x) :: else fi; sweep(); check() }
	:: atomic { pair[1].response && pair[1].begunBy == x -> p = 1; goto response }
	:: atomic { pair[2].response && pair[2].begunBy == x -> p = 2; goto response }
	:: atomic { pair[3].response && pair[3].begunBy == x -> p = 3; goto response }
	:: atomic { pair[4].response && pair[4].begunBy == x -> p = 4;
response:	if
		:: may(DOUBLE) -> troubles++
		:: pair[p].response = 0
		fi;
		receiveResponse(x, p); p = 0; sweep(); check() }
	od
}

/* telling: a packet of x would tell the other host something. Others are not sent. */
#define telling(x) (host[x].out && !V(x, host[x].out).esp && V(other(x), host[x].out).state != confirmed && \
	(V(other(x), host[x].out).state != none || proved(other(x))))

/* tunnel takes packets to x from the network, and sends some. */
proctype tunnel(bit x) {
	byte p;
	do
	:: atomic { telling(x) -> V(x, host[x].out).esp = 1 }
	:: atomic { V(other(x), 1).esp -> p = 1; goto packet }
	:: atomic { V(other(x), 2).esp -> p = 2; goto packet }
	:: atomic { V(other(x), 3).esp -> p = 3; goto packet }
	:: atomic { V(other(x), 4).esp -> p = 4;
packet:		V(other(x), p).esp = 0;
		if :: V(x, p).state != none -> Confirmed(x, p) :: else -> UnknownSPI(x) fi;
		p = 0; sweep(); check() }
	od
}

/* waiting: something that the outstanding init is about is still on its way. */
#define waiting(x) (host[x].onway || host[x].asked || \
	(pair[1].fresh && pair[1].response && pair[1].begunBy == x) || (pair[2].fresh && pair[2].response && pair[2].begunBy == x) || \
	(pair[3].fresh && pair[3].response && pair[3].begunBy == x) || (pair[4].fresh && pair[4].response && pair[4].begunBy == x))
/* hopeless: the pair in use can't be proved any more. Where it can, proofTime and unconfirmedLife only end with packets
 * still on their way: early. */
#define hopeless(x) (host[x].out && V(x, host[x].out).state == made && V(other(x), host[x].out).state == none)
#define begins(x) (!host[x].out || host[x].due || host[x].began || hopeless(x))

/* tick begins what is due, and again when there was no answer. */
proctype tick(bit x) {
	do
	:: atomic { begins(x) && !waiting(x) -> begin(x); sweep(); check() }
	:: atomic { (begins(x) && waiting(x) || !proved(x)) && may(EARLY) -> troubles++; begin(x); sweep(); check() }
	od
}

/* ended: the pending pair p goes at x after pendingLife: its initiator has given it up before, after unconfirmedLife. */
#define ended(x, p) (V(x, p).state == pending && !V(other(x), p).esp && host[other(x)].out != p && !(pair[p].fresh && pair[p].response))

/* expire removes what has reached its end. */
proctype expire(bit x) {
	byte p;
	do
	:: atomic { ended(x, 1) -> p = 1; goto end }
	:: atomic { ended(x, 2) -> p = 2; goto end }
	:: atomic { ended(x, 3) -> p = 3; goto end }
	:: atomic { ended(x, 4) -> p = 4;
end:		gone(x, p); p = 0; sweep(); check() }
	:: d_step { host[x].replayed -> host[x].replayed = 0 }
	:: atomic { host[x].out && V(x, host[x].out).state == made && (hopeless(x) || may(EARLY)) -> /* giveUpOut */
		if :: hopeless(x) -> skip :: else -> troubles++ fi;
		V(x, host[x].out).mute = 1; host[x].out = 0; sweep(); check() }
	od
}

/* attack sends recorded inits to x for ever. */
proctype attack(bit x) { do :: d_step { host[other(x)].recorded && !host[x].replayed && !isPending(x) -> replay(x) } od }

inline forget(x, p) { if :: V(x, p).state != none -> V(x, p).lost = 1; V(x, p).state = none :: else fi; V(x, p).esp = 0 }

/* misfortune: losses, restarts and rekeys, as many as are allowed. */
proctype misfortune(bit x) {
	do
	:: atomic { may(LOSS) && host[x].onway -> troubles++; host[x].onway = 0 }
	:: atomic { may(LOSS) && host[x].asked -> troubles++; host[x].asked = 0 }
	:: atomic { may(LOSS) && pair[1].response -> troubles++; pair[1].response = 0; sweep() }
	:: atomic { may(LOSS) && pair[2].response -> troubles++; pair[2].response = 0; sweep() }
	:: atomic { may(LOSS) && pair[3].response -> troubles++; pair[3].response = 0; sweep() }
	:: atomic { may(LOSS) && host[x].out && V(x, host[x].out).esp -> troubles++; V(x, host[x].out).esp = 0; sweep() }
	:: d_step { may(RESTART) -> troubles++;
		cancel(x);
		forget(x, 1); forget(x, 2); forget(x, 3); forget(x, 4);
		host[x].out = 0; host[x].generation = 0; host[x].due = 0; host[x].cookie = 0; host[x].replayed = 0; sweep() }
	:: atomic { proved(x) && may(REKEY) -> troubles++; host[x].due = 1 } /* SoftLimit */
	od
}

init {
	atomic {
		byte x, q;
		do :: x < 2 -> q = 0; do :: q <= PAIRS -> V(x, q).state = none; q++ :: else -> break od; x++ :: else -> break od;
		x = 0; q = 0;
		run receive(A); run receive(B); run tunnel(A); run tunnel(B); run tick(A); run tick(B);
		run expire(A); run expire(B); run attack(A); run attack(B); run misfortune(A); run misfortune(B)
	}
}

ltl working { <> [] (host[A].out != 0 && host[A].out == host[B].out) }
