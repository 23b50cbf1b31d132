/*
 * The handshake between two hosts and the rules by which pairs of SAs replace each other, as in package handshake: its
 * functions and states have the same names here, and a test holds that. Checked by `make model`; scripts/model says which
 * troubles are combined in which run, and which runs search all states.
 *
 * In every run both hosts begin when they like, so that starts cross; the network reorders, delays and doubles without limit (a
 * message is taken from it at any later time; a second copy of a response or of an init is a replay); and an attacker sends
 * recorded inits to either host for ever: any init without a cookie may find a pair pending that a replay has made. Losses,
 * restarts of either host, rekeys and timers that end early are counted: TROUBLES of them, of the KINDS, come at any time.
 * What is bounded besides is the generation that the attacker can push a host to (CAP), and pairs at once (PAIRS).
 *
 * Time is left out: whatever waits for a timer may happen at any moment. Assumed is, each where it is used, that
 * unconfirmedLife ends before pendingLife, that no packet takes as long as oldGrace, and that a host which sends on a pair is
 * heard within oldGrace (it probes every ten seconds). Left out are limits of memory (maxPending, maxInbound), maxAge, the load, PPKs, and where hosts are.
 *
 * All runs of scripts/model search all states; how many these were:
 *   restart 1,241,839 (so replays and a restart), loss 24,421, rekey 10,952, early 67,347; loss and restart 4,295,780 (with 3 pairs
 *   at once and without replays; with 4 it was ended, without an error, after 26 million); working: without troubles 4,486, with a
 *   loss 43,636, with a rekey 15,188, and in the deep run with a restart, without replays, 300,270
 *
 * Properties:
 *   no SA is used before its receiver has it, or after, unless the receiver was restarted   (assert in check)
 *   nobody goes back to a lower pair, and no erased key is used again                       (assert in adopt)
 *   no key is installed twice                                                               (assert in insert)
 *   no pair of hosts stays without a working SA, under weak fairness                        (ltl working)
 *
 * Packets of before a restart arrive after it, too. That is how bury was found to be needed: without it a host that was put back on a
 * pair of before the other's restart gave up the one that the other sent on.
 */

/* The troubles of a run: how many, and of which kinds (a sum). */
#ifndef TROUBLES
#define TROUBLES 1
#endif
#define LOSS    1  /* a message is lost */
#define RESTART 4  /* of either host */
#define REKEY   8  /* begun by either host */
#define EARLY   16 /* a timer ends while what it waits for is still on its way */
#ifndef KINDS
#define KINDS   29
#endif
#define may(kind) (troubles < TROUBLES && (KINDS & kind))

#define A 0     /* the smaller host ID */
#define B 1
#ifndef PAIRS
#define PAIRS 4 /* that exist at once, 1 to PAIRS; 3 or 4; 0: none */
#endif
#ifndef CAP
#define CAP 1   /* generation that the attacker can push a host to; 0: there is none */
#endif
#define TOP 20  /* never reached */

#define other(x) (1 - (x))
#define above(p, q) (pair[p].generation > pair[q].generation || \
	(pair[p].generation == pair[q].generation && pair[p].smaller && !pair[q].smaller))

/* What a host knows of a pair. pending: begun by the other, not proven; made: begun here, may be sent on, not proven; dead: the
 * other has forgotten it, and proved that. */
mtype = { none, pending, made, confirmed, dead };

#define SLOTS 5 /* with 0 */

typedef Pair {
	byte generation; bit smaller; /* its rank */
	bit begunBy;
	bit fresh;                    /* the init that it answers is still outstanding */
	bit response;                 /* on its way */
	byte sending                  /* in the response: what the responder sends on */
}
Pair pair[SLOTS];

typedef View {
	mtype state;
	bit mute;      /* its outbound SA was erased */
	bit installed; /* once, since the pair was made */
	bit lost;      /* by a restart */
	byte before;   /* the pairs that were made since it is here, as bits */
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
	byte record;   /* generation of the last init of this host that the attacker has; 0: none */
	View view[SLOTS]
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
 * oldGrace, which is longer than any packet takes, and than a host that sends on the pair can be silent (unheard). */
#define old(x, p) ( \
	(V(x, 1).state == confirmed && above(1, p)) || (V(x, 2).state == confirmed && above(2, p)) || \
	(V(x, 3).state == confirmed && above(3, p)) || (V(x, 4).state == confirmed && above(4, p)))
#define unheard(x, p) (V(x, p).state == made && (host[other(x)].out == p || V(x, p).esp))
inline expireOld(x, p) {
	if
	:: V(x, p).state != none && !V(other(x), p).esp && !unheard(x, p) && old(x, p) -> gone(x, p)
	:: else
	fi
}
inline gone(x, p) {
	V(x, p).state = none; V(x, p).mute = 1;
	if :: host[x].out == p -> host[x].out = 0 :: else fi
}

/* release makes pair slots free again that nobody holds and nothing on its way belongs to; a response that names such a pair as
 * the one that is sent on names nothing (unsaid). */
inline unsaid(p, q) { if :: pair[q].sending == p -> pair[q].sending = 0 :: else fi }
inline release(p) {
	if
	:: V(A, p).state == none && V(B, p).state == none && !V(A, p).esp && !V(B, p).esp && !pair[p].response ->
		unsaid(p, 1); unsaid(p, 2); unsaid(p, 3); unsaid(p, 4);
		pair[p].generation = 0; pair[p].smaller = 0; pair[p].begunBy = 0; pair[p].fresh = 0; pair[p].sending = 0;
		V(A, p).installed = 0; V(B, p).installed = 0; V(A, p).lost = 0; V(B, p).lost = 0; V(A, p).mute = 0; V(B, p).mute = 0; V(A, p).before = 0; V(B, p).before = 0
	:: else
	fi
}

/* lower takes the same off all generations when the lowest is above LOW: only their order counts, and that a restarted host, which
 * begins anew at 0 and gets to CAP + 1 at most by itself, is below all others. */
#define LOW (CAP + 2)
#define high(p) (pair[p].generation == 0 || pair[p].generation > LOW)
#define highest(x) (host[x].generation > LOW && (!host[x].began || host[x].proposed > LOW))
inline one(p) { if :: pair[p].generation -> pair[p].generation-- :: else fi }
inline ofHost(x) {
	host[x].generation--;
	if :: host[x].began -> host[x].proposed-- :: else fi;
	if :: host[x].record > 1 -> host[x].record-- :: else fi
}
inline lower() {
	do
	:: highest(A) && highest(B) && high(1) && high(2) && high(3) && high(4) ->
		ofHost(A); ofHost(B); one(1); one(2); one(3); one(4)
	:: else -> break
	od
}

inline sweep() {
	d_step {
		expireOld(A, 1); expireOld(A, 2); expireOld(A, 3); expireOld(A, 4);
		expireOld(B, 1); expireOld(B, 2); expireOld(B, 3); expireOld(B, 4);
		release(1); release(2); release(3); release(4);
		lower();
		assert(host[A].generation < TOP && host[B].generation < TOP)
	}
}

/* cancel gives up the outstanding init: its response will not be accepted, so it is as good as lost; it may itself still come, as a
 * replay does. */
inline stale(x, p) { if :: pair[p].begunBy == x -> pair[p].fresh = 0; pair[p].response = 0; pair[p].sending = 0 :: else fi }
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
	host[x].record = host[x].proposed
}

/* insert adds pair p to what x holds. */
inline insert(x, p, s) {
	assert(!V(x, p).installed);
	V(x, p).installed = 1; V(x, p).state = s; V(x, p).before = 0;
	if :: pair[p].generation > host[x].generation -> host[x].generation = pair[p].generation :: else fi
}

inline silence(x, p, q) { if :: V(x, q).state != none && above(p, q) -> V(x, q).mute = 1 :: else fi }

/* adopt makes p the pair that x sends on, for good. */
inline adopt(x, p) {
	assert(!V(x, p).mute && (host[x].out == 0 || host[x].out == p || above(p, host[x].out)));
	d_step { host[x].out = p; silence(x, p, 1); silence(x, p, 2); silence(x, p, 3); silence(x, p, 4) }
}

inline settle(x) { cancel(x); host[x].due = 0; host[x].cookie = 0 }

#define isPending(y) (V(y, 1).state == pending || V(y, 2).state == pending || V(y, 3).state == pending || V(y, 4).state == pending)
#define isFree(p) (V(A, p).state == none && V(B, p).state == none && !V(A, p).esp && !V(B, p).esp && !pair[p].response)

/* receiveInit at y: the outstanding one of the other host. */
inline receiveInit(y) {
	if
	:: (CAP > 0 || isPending(y)) && !host[other(y)].proven -> host[other(y)].asked = 1 /* answered with a cookie only: a pair is pending, or one of a replay */
	:: host[other(y)].proven || !isPending(y) ->
		if
		:: isFree(1) -> p = 1
		:: else -> if :: isFree(2) -> p = 2 :: else -> if :: isFree(3) -> p = 3 :: else -> if :: PAIRS > 3 && isFree(4) -> p = 4 :: else fi fi fi
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

/* replay at y: of an init of the other host. Only the generation is left of it, and a pending pair: see receiveInit. */
inline replay(y) {
	if :: host[y].generation++ :: host[other(y)].record > host[y].generation -> host[y].generation = host[other(y)].record fi
}

/* since notes that p was made when q was here already. */
inline since(x, p, q) { if :: pair[q].begunBy != x && V(x, q).state != none -> V(x, q).before = V(x, q).before | (1 << p) :: else fi }

/* bury takes what the other host began before p was made, and has forgotten, out of use. */
inline buryOne(x, p, q) {
	if
	:: pair[q].begunBy != x && V(x, q).state != none && (V(x, q).before & (1 << p)) && above(q, p) ->
		V(x, q).state = dead; V(x, q).mute = 1;
		if :: host[x].out == q -> host[x].out = 0 :: else fi
	:: else
	fi
}
inline bury(x, p) {
	if
	:: pair[p].begunBy == x -> d_step { buryOne(x, p, 1); buryOne(x, p, 2); buryOne(x, p, 3); buryOne(x, p, 4) }
	:: else
	fi
}

/* confirm notes that the other host sends on p. */
inline confirm(x, p) { if :: V(x, p).state == pending || V(x, p).state == made -> V(x, p).state = confirmed; bury(x, p) :: else fi }

/* receiveResponse at x completes its handshake. */
inline receiveResponse(x, p) {
	if
	:: host[x].began && pair[p].fresh ->
		confirm(x, pair[p].sending);
		cancel(x);
		insert(x, p, made);
		d_step { since(x, p, 1); since(x, p, 2); since(x, p, 3); since(x, p, 4) };
		adopt(x, p)
	:: else
	fi
}

/* Confirmed: a packet on p was opened at x. */
inline Confirmed(x, p) {
	if
	:: V(x, p).state == confirmed && host[x].out == p || V(x, p).state == dead -> skip
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
response:	pair[p].response = 0;
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
#define ended(x, p) ((V(x, p).state == pending || V(x, p).state == dead) && !V(other(x), p).esp && host[other(x)].out != p && !(pair[p].fresh && pair[p].response))

/* expire removes what has reached its end. */
proctype expire(bit x) {
	byte p;
	do
	:: atomic { ended(x, 1) -> p = 1; goto end }
	:: atomic { ended(x, 2) -> p = 2; goto end }
	:: atomic { ended(x, 3) -> p = 3; goto end }
	:: atomic { ended(x, 4) -> p = 4;
end:		gone(x, p); p = 0; sweep(); check() }
	:: atomic { host[x].out && V(x, host[x].out).state == made && (hopeless(x) || may(EARLY)) -> /* giveUpOut */
		if :: hopeless(x) -> skip :: else -> troubles++ fi;
		V(x, host[x].out).mute = 1; host[x].out = 0; sweep(); check() }
	od
}

/* attack sends recorded inits to x for ever. */
proctype attack(bit x) { do :: d_step { host[other(x)].record && host[x].generation < CAP -> replay(x) } od }

inline forget(x, p) { if :: V(x, p).state != none -> V(x, p).lost = 1; V(x, p).state = none :: else fi }

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
		host[x].out = 0; host[x].generation = 0; host[x].due = 0; host[x].cookie = 0; sweep() }
	:: atomic { proved(x) && may(REKEY) -> troubles++; host[x].due = 1 } /* SoftLimit */
	od
}

init {
	atomic {
		byte x, q;
		do :: x < 2 -> q = 0; do :: q < SLOTS -> V(x, q).state = none; q++ :: else -> break od; x++ :: else -> break od;
		x = 0; q = 0;
		run receive(A); run receive(B); run tunnel(A); run tunnel(B); run tick(A); run tick(B);
		run expire(A); run expire(B); run attack(A); run attack(B); run misfortune(A); run misfortune(B)
	}
}

ltl working { <> [] (host[A].out != 0 && host[A].out == host[B].out) }
