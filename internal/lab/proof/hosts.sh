# Two hosts by hand, with ip(8), as the kernel data plane is to have them. Sourced by the proofs beside it; bash.
#
#   cA 10.42.1.7 ── br0 rA ms1 ┄┄ hA 192.0.2.1 ═══ hB 192.0.2.2 ┄┄ ms1 rB br0 ── 10.42.2.7 cB
#
# hX is a host's namespace and has the SAs and policies, rX its router, cX a container. ms1, an xfrm interface, is created
# in hX and moved to rX: ┄┄ is no link, only ESP goes over ═══.
set -u
here=$(dirname "${BASH_SOURCE[0]}")
failures=0 captures=()

# check NAME WANT GOT prints a verdict.
check() {
	if [ "$2" = "$3" ]; then
		echo "  ok    $1: $3"
	else
		echo "  FAIL  $1: $3, want $2"
		failures=$((failures + 1))
	fi
}

# await COMMAND… waits until it succeeds, and gives up with the whole proof.
await() {
	local tries
	for ((tries = 0; tries < 300; tries++)); do
		"$@" && return
		sleep 0.1
	done
	echo "  FAIL  waited in vain for: $*"
	exit 1
}

# one A 1 B 2 makes host A.
one() {
	local me=$1 n=$2 peer=$4
	for space in "h$me" "r$me" "c$me"; do
		ip netns add "$space"
		ip netns exec "$space" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
		ip -n "$space" link set lo up
	done
	ip -n "r$me" link add br0 type bridge
	ip -n "r$me" link set br0 up
	ip -n "r$me" addr add 10.42.0.1/32 dev br0
	ip -n "r$me" route add 10.42.0.0/16 dev br0
	ip link add eth0 netns "c$me" type veth peer name veth0 netns "r$me"
	ip -n "r$me" link set veth0 master br0 up
	ip -n "c$me" link set eth0 up
	ip -n "c$me" addr add "10.42.$n.7/16" dev eth0
	ip -n "h$me" link add ms1 type xfrm if_id 7
	ip -n "h$me" link set ms1 netns "r$me"
	ip -n "r$me" link set ms1 mtu "$mtu" up
	ip netns exec "r$me" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.br0.proxy_arp=1 net.ipv4.neigh.br0.proxy_delay=0 \
		net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.ms1.rp_filter=1 net.ipv4.conf.all.send_redirects=0
	ip -n "r$me" route add "10.42.$peer.7/32" dev ms1
}

# hosts udp|esp makes both, without SAs and policies, and sets mtu and the filter wire of what may be between them.
hosts() {
	encap=$1 mtu=1438 wire='udp port 4500'
	[ "$encap" = udp ] || mtu=1446 wire='ip proto 50'
	one A 1 B 2
	one B 2 A 1
	ip link add eth0 netns hA type veth peer name eth0 netns hB
	ip -n hA addr add 192.0.2.1/24 dev eth0
	ip -n hB addr add 192.0.2.2/24 dev eth0
	ip -n hA link set eth0 up
	ip -n hB link set eth0 up
	if [ "$encap" = udp ]; then
		hold A
		hold B
	fi
}

# hold A opens the encapsulation socket of host A, and unhold A closes it.
hold() {
	ip netns exec "h$1" perl "$here/hold" >"/tmp/hold$1" &
	eval "holder$1=$!"
	await grep -q ready "/tmp/hold$1"
}
unhold() {
	local pid="holder$1"
	[ -z "${!pid:-}" ] || { kill "${!pid}"; wait "${!pid}" 2>/dev/null; }
	eval "holder$1="
}

gone() {
	unhold A
	unhold B
	for space in hA rA cA hB rB cB; do
		ip netns del "$space"
	done
}

# sa HOST FROM TO SPI KEY… adds one SA; CIPHER, ICV and WINDOW may be set.
gcm='rfc4106(gcm(aes))' chacha='rfc7539esp(chacha20,poly1305)'
sa() {
	local host=$1 from=$2 to=$3 spi=$4 key=$5
	ip -n "$host" xfrm state add src "$from" dst "$to" proto esp spi "$spi" reqid 7 mode tunnel if_id 7 \
		replay-window "${WINDOW:-1024}" flag esn aead "${CIPHER:-$gcm}" "$key" 128 $([ "$encap" = udp ] && echo encap espinudp 4500 4500 0.0.0.0)
}

# key prints new random bytes: 32 of the key and 4 of the salt.
key() { echo "0x$(od -An -N36 -tx1 /dev/urandom | tr -d ' \n')"; }

# sas SPI gives both hosts a pair of SAs, the one towards B with this SPI, the one towards A with the next.
sas() {
	local there back
	there=$(key) back=$(key)
	for host in hB hA; do
		sa $host 192.0.2.1 192.0.2.2 "$1" "$there" && sa $host 192.0.2.2 192.0.2.1 $(($1 + 1)) "$back" || return
	done
}

# policies SPI makes the policies of both hosts, or changes them; the outbound ones name the SAs to use, so that newer ones
# can be added at leisure.
policies() {
	policy hA 192.0.2.1 192.0.2.2 "$1"
	policy hB 192.0.2.2 192.0.2.1 $(($1 + 1))
}
policy() {
	ip -n "$1" xfrm policy update dir out if_id 7 tmpl src "$2" dst "$3" proto esp spi "$4" reqid 7 mode tunnel
	for dir in in fwd; do
		ip -n "$1" xfrm policy update dir $dir if_id 7 tmpl src "$3" dst "$2" proto esp reqid 7 mode tunnel
	done
}

# pings SPACE ADDRESS COUNT [ARGUMENT…] prints how many answers came.
pings() {
	local space=$1 address=$2 count=$3
	shift 3
	ip netns exec "$space" ping -q -n -i 0.1 -W 1 -c "$count" "$@" "$address" | sed -nE 's/.* ([0-9]+) received.*/\1/p'
}

# watch NAME SPACE LINK begins a capture; seen NAME FILTER counts in it, after unwatch.
watch() {
	ip netns exec "$2" tcpdump -U --immediate-mode -ni "$3" -w "/tmp/$1.pcap" 2>"/tmp/$1.log" &
	captures+=($!)
	await grep -q 'listening on' "/tmp/$1.log"
}
unwatch() {
	sleep 0.5 # what is on its way
	kill "${captures[@]}"
	wait "${captures[@]}"
	captures=()
}
seen() { tcpdump -nr "/tmp/$1.pcap" "$2" 2>/dev/null | wc -l; }

# counter SPACE NAME prints a counter of /proc/net/netstat or xfrm_stat.
counter() { ip netns exec "$1" sh -c "cat /proc/net/xfrm_stat; nstat -asz" | awk -v name="$2" '$1 ~ name "$" { print $2 }'; }
