package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// attacker is root in a container of host 1, with all that Docker gives it.
func attacker(t *testing.T, s *suite) *testnet.Container {
	t.Helper()
	return start(t, s.Hosts[0], mesh, "attacker", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW")
}

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func hardware(t *testing.T, text string) net.HardwareAddr {
	t.Helper()
	mac, err := net.ParseMAC(text)
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

func ether(src, dst net.HardwareAddr, kind uint16, payload ...[]byte) []byte {
	head := binary.BigEndian.AppendUint16(bytes.Join([][]byte{dst, src}, nil), kind)
	return append(head, bytes.Join(payload, nil)...)
}

// claim is ARP that says that an address is at src.
func claim(op byte, src, dst net.HardwareAddr, addr netip.Addr) []byte {
	return ether(src, dst, unix.ETH_P_ARP, []byte{0, 1, 8, 0, 6, 4, 0, op}, src, addr.AsSlice(), broadcast, addr.AsSlice())
}

// datagram is UDP to the discard port, with the offset of a fragment in units of 8 bytes.
func datagram(src, dst net.HardwareAddr, from, to netip.Addr, offset uint16, canary [16]byte) []byte {
	head := []byte{0x45, 0, 0, 44, 0, 1, byte(offset >> 8), byte(offset), 64, 17, 0, 0}
	head = append(append(head, from.AsSlice()...), to.AsSlice()...)
	sum := uint32(0)
	for i := 0; i < len(head); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(head[i:]))
	}
	binary.BigEndian.PutUint16(head[10:], ^uint16(sum>>16+sum&0xffff))
	return ether(src, dst, unix.ETH_P_IP, head, []byte{0, 9, 0, 9, 0, 24, 0, 0}, canary[:])
}

// statusDrops is what a host has dropped that belongs to no peer, by reason.
func statusDrops(t *testing.T, h *testnet.Host) map[string]uint64 {
	t.Helper()
	var status control.Status
	if err := h.MeshsecJSON(t.Context(), &status, "status"); err != nil {
		t.Fatal(err)
	}
	return status.Drops
}

// outerDrops is what a host has dropped of what came to its UDP port.
func outerDrops(t *testing.T, h *testnet.Host) (n uint64) {
	t.Helper()
	for reason, count := range statusDrops(t, h) {
		if !strings.HasPrefix(reason, "container-") {
			n += count
		}
	}
	return n
}

// TestHostileContainer: root in a container, with raw sockets, takes over no address, local, remote or the gateway's.
func TestHostileContainer(t *testing.T) {
	s := shared(t)
	bad, local, far := attacker(t, s), start(t, s.Hosts[0], mesh, "local"), start(t, s.Hosts[1], mesh, "far")
	witness := start(t, s.Hosts[0], mesh, "witness")
	own, victim, gateway := hardware(t, bad.MAC), hardware(t, local.MAC), netip.MustParseAddr("10.42.0.1")
	at := func(from *testnet.Container, addr netip.Addr) (mac string) {
		t.Helper()
		eventually(t, "an answer to ARP", func() error {
			a, err := from.ARP(t.Context(), addr)
			if err == nil && !a.Answered {
				err = fmt.Errorf("%s: nobody says where %s is", from.Name, addr)
			}
			mac = a.MAC
			return err
		})
		return mac
	}
	router := at(witness, gateway)
	s.reach(t, bad, far.Addr)
	s.reach(t, far, local.Addr)
	s.reach(t, witness, local.Addr)
	before := statusDrops(t, bad.Host)

	var arp, source, tagged, other [][]byte
	for _, addr := range []netip.Addr{local.Addr, far.Addr, witness.Addr, gateway} {
		for _, dst := range []net.HardwareAddr{broadcast, hardware(t, witness.MAC), hardware(t, router)} {
			arp = append(arp, claim(1, own, dst, addr), claim(2, own, dst, addr))
			source = append(source, datagram(own, dst, addr, witness.Addr, 0, s.watch.Canary), datagram(own, dst, addr, far.Addr, 0x2010, s.watch.Canary))
		}
	}
	arp = append(arp, claim(2, victim, broadcast, local.Addr), claim(2, victim, broadcast, bad.Addr))
	source = append(source, datagram(victim, hardware(t, router), local.Addr, far.Addr, 0, s.watch.Canary),
		datagram(victim, hardware(t, witness.MAC), bad.Addr, witness.Addr, 0x2010, s.watch.Canary))
	honest := datagram(own, broadcast, bad.Addr, witness.Addr, 0, s.watch.Canary)
	tagged = append(tagged, ether(own, broadcast, unix.ETH_P_8021Q, []byte{0, 7}, honest[12:]), ether(own, broadcast, unix.ETH_P_8021Q, []byte{0, 0}, honest[12:]))
	advertisement := append([]byte{0x60, 0, 0, 0, 0, 16, 58, 255}, make([]byte, 32)...)
	other = append(other, ether(own, broadcast, unix.ETH_P_IPV6, advertisement, []byte{134, 0, 0, 0, 64, 0, 7, 8}, make([]byte, 8)))
	offer := datagram(own, broadcast, bad.Addr, witness.Addr, 0, s.watch.Canary)
	offer[35], offer[37] = 67, 68
	// A bridge may learn from these before it asks anybody.
	lldp := ether(victim, net.HardwareAddr{1, 0x80, 0xc2, 0, 0, 14}, 0x88cc, make([]byte, 46))
	for range 3 {
		for _, frames := range [][][]byte{arp, source, tagged, other, {offer, lldp}} {
			if err := bad.SendFrames(t.Context(), frames...); err != nil {
				t.Fatal(err)
			}
		}
	}
	after := statusDrops(t, bad.Host)
	for reason, n := range map[string]int{"arp": len(arp), "source": len(source), "vlan": len(tagged), "ipv6": len(other), "dhcp": 1} {
		if got := after["container-"+reason] - before["container-"+reason]; got < uint64(3*n) {
			t.Errorf("%s: %d counted, %d sent", reason, got, 3*n)
		}
	}
	t.Logf("figure: dropped before the attack %v, after it %v", before, after)
	for addr, want := range map[netip.Addr]string{local.Addr: local.MAC, far.Addr: router, gateway: router} {
		if got := at(witness, addr); got != want {
			t.Errorf("%s is at %s, want %s; the attacker is %s", addr, got, want, bad.MAC)
		}
	}
	for from, to := range map[*testnet.Container]netip.Addr{far: local.Addr, local: far.Addr, witness: local.Addr, bad: far.Addr} {
		s.reach(t, from, to)
	}
	table, err := bad.Host.RunRouter(t.Context(), "ip", "neigh")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(table) {
		if strings.Contains(line, bad.MAC) && !strings.HasPrefix(line, bad.Addr.String()+" ") {
			t.Errorf("the router believes the attacker: %s", line)
		}
	}
}

// TestContainerReachesOnlyItsNetwork: through the mesh interface there is no way to another network, to a router, or to a
// host and what it serves.
func TestContainerReachesOnlyItsNetwork(t *testing.T) {
	s := shared(t)
	bad, far := attacker(t, s), start(t, s.Hosts[1], mesh, "far")
	const red = "red"
	if _, err := s.Hosts[0].Docker(t.Context(), with("--ipam-opt", "meshsec.network="+red, red)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeNetwork(t, s.Hosts[0], red) })
	stranger := start(t, s.Hosts[0], red, "stranger")
	s.reach(t, bad, far.Addr)
	targets := []netip.Addr{stranger.Addr, s.Hosts[0].Addr, s.Hosts[1].Addr}
	for _, h := range s.Hosts[:2] {
		var status control.Status
		if err := h.MeshsecJSON(t.Context(), &status, "status"); err != nil {
			t.Fatal(err)
		}
		targets = append(targets, status.Router)
	}
	heard := received(t, stranger)
	for _, to := range targets {
		if out, err := bad.Exec(t.Context(), "ip", "route", "add", to.String(), "via", "10.42.0.1", "dev", "eth0"); err != nil {
			t.Fatal(err, out)
		}
		if p, err := bad.Ping(t.Context(), s.watch.Canary, to, 1); err == nil || p.Received > 0 {
			t.Errorf("%s answers a ping", to)
		}
		for _, port := range []string{"2379", "2380", "9450", "9000"} {
			_, err := bad.Exec(t.Context(), "/probe", "transfer", "-port", port, "-size", "1", "-timeout", "300ms", to.String())
			if err == nil || strings.Contains(err.Error(), "refused") {
				t.Errorf("%s answers on port %s: %v", to, port, err)
			}
		}
	}
	if now := received(t, stranger); now != heard {
		t.Errorf("%d pings reached another network's container", now-heard)
	}
	before := outerDrops(t, s.Hosts[1])
	router := hardware(t, "02:6d:0a:2a:00:01")
	handshake := datagram(hardware(t, bad.MAC), router, bad.Addr, s.Hosts[1].Addr, 0, s.watch.Canary)
	binary.BigEndian.PutUint16(handshake[36:], 4500)
	if err := bad.SendFrames(t.Context(), handshake, handshake); err != nil {
		t.Fatal(err)
	}
	s.reach(t, bad, far.Addr)
	if now := outerDrops(t, s.Hosts[1]); now != before {
		t.Errorf("the handshake port got %d packets", now-before)
	}
}

// TestOwnMAC: a container that changes its MAC address is cut off until it changes back; one that Docker gave a MAC address
// is not, and no second one gets the same.
func TestOwnMAC(t *testing.T) {
	s := shared(t)
	far := start(t, s.Hosts[1], mesh, "far")
	const mac = "02:11:22:33:44:77"
	c := start(t, s.Hosts[0], mesh, "own", "--mac-address", mac, "--cap-add", "NET_ADMIN")
	s.reach(t, c, far.Addr)
	change := func(mac string) {
		if out, err := c.Exec(t.Context(), "ip", "link", "set", "eth0", "address", mac); err != nil {
			t.Fatal(err, out)
		}
	}
	change("02:11:22:33:44:78")
	if _, err := c.Ping(t.Context(), s.watch.Canary, far.Addr, 1); err == nil {
		t.Error("with another MAC address it is still reached")
	}
	change(mac)
	s.reach(t, c, far.Addr)
	t.Cleanup(func() { remove(t, s.Hosts[0], "twin") })
	refused(t, s.Hosts[0], []string{mac, "another container's"}, "run", "-d", "--name", "twin", "--network", mesh, "--mac-address", mac, testnet.Image)
	s.reach(t, far, c.Addr)
}
