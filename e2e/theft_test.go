package e2e

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshsec/meshsec/internal/eavesdrop"
	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/store"
)

// TestExportedSecretsOpenNothing: all that the founder keeps on disk, the authority's key and the PPK among it, opens no packet that was
// recorded, its own or others', and no response. The recording itself is good: what lies in a running agent's memory opens it.
func TestExportedSecretsOpenNothing(t *testing.T) {
	s := special(t, testnet.Options{Hosts: 3})
	tape := s.record(t)
	ppk := strings.Repeat("5e", 32)
	settings := []string{"PPK=" + ppk, "DATAPLANE=userspace"} // the kernel's keys are not in an agent's memory
	startAgent(t, s.Hosts[0], settings...)
	for _, h := range s.Hosts[1:] {
		token, err := s.Hosts[0].Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		startAgent(t, h, append(settings, "JOIN="+token)...)
	}
	x, y, z := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	for _, pair := range [][2]*testnet.Host{{x, y}, {y, z}, {z, x}} {
		expect(t, pair[0], pair[1], "up", "")
		expect(t, pair[1], pair[0], "up", "")
	}
	thief := eavesdrop.Attacker{Environment: "default", KEMs: [][]byte{make([]byte, 32)}, PPKs: [][]byte{make([]byte, 32)}}
	key, err := hex.DecodeString(ppk)
	if err != nil {
		t.Fatal(err)
	}
	thief.PPKs = append(thief.PPKs, key)
	var disk []byte
	for _, h := range s.Hosts {
		id, files := loot(t, h)
		public, err := id.Public()
		if err != nil {
			t.Fatal(err)
		}
		thief.Publics = append(thief.Publics, public[:])
		if h == x {
			thief.Privates, disk = [][]byte{id.Private.Bytes}, append(files, key...)
		}
	}
	opened := 0
	for _, pair := range [][2]*testnet.Host{{x, y}, {x, z}, {y, z}} {
		messages, packets := tape.between(pair[0], pair[1])
		if len(messages) == 0 || len(packets) == 0 {
			t.Fatalf("%d messages and %d packets of %s and %s recorded", len(messages), len(packets), pair[0].Name, pair[1].Name)
		}
		for _, m := range messages {
			init := thief.OpenInit(m)
			if init == nil {
				continue
			}
			if opened++; pair[0] != x {
				t.Error("an init between others is open")
			}
			for _, r := range messages {
				if len(thief.Derive(init, r)) > 0 {
					t.Error("a response is open")
				}
			}
		}
		for _, p := range packets {
			if eavesdrop.OpensNear(disk, p) {
				t.Errorf("a packet of %s and %s is open with what %s keeps on disk", pair[0].Name, pair[1].Name, x.Name)
			}
		}
		if mine := memory(t, x, packets); mine != (pair[0] == x) {
			t.Errorf("the memory of %s opens packets of %s and %s: %v", x.Name, pair[0].Name, pair[1].Name, mine)
		}
		if !memory(t, pair[1], packets) {
			t.Errorf("the memory of %s opens none of its own packets: the test proves nothing", pair[1].Name)
		}
	}
	if opened == 0 {
		t.Error("no init opens with the founder's key: the test proves nothing")
	}
	t.Logf("%d inits to the founder opened, of %d datagrams", opened, len(tape.datagrams))
}

// loot is what a host keeps on disk: who it is, and the bytes of all files.
func loot(t *testing.T, h *testnet.Host) (store.Identity, []byte) {
	t.Helper()
	dir := filepath.Join(h.Dir(), "loot")
	if out, err := h.Run(t.Context(), "cp", "-r", h.Data("meshsec"), dir); err != nil {
		t.Fatal(err, out)
	}
	var all []byte
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, readErr := os.ReadFile(path)
			all, err = append(all, b...), readErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	cp, err := store.OpenCheckpoint(filepath.Join(dir, "default.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer cp.Close()
	return cp.Local().Identity, all
}

// memory says whether what lies in the memory of a host's agent opens one of the packets.
func memory(t *testing.T, h *testnet.Host, packets [][]byte) bool {
	t.Helper()
	pid, err := h.KillAgent(0)
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") || to-from > 1<<27 {
			continue
		}
		b := make([]byte, to-from)
		if n, err := mem.ReadAt(b, from); err != nil && n == 0 {
			continue
		}
		for _, p := range packets {
			if eavesdrop.OpensNear(b, p) {
				return true
			}
		}
	}
	return false
}

// tape is what was recorded of UDP 4500 on the underlay.
type tape struct {
	mu        sync.Mutex
	datagrams []taped
}

type taped struct {
	from, to netip.Addr
	payload  []byte
}

// record records until the test ends.
func (s *suite) record(t *testing.T) *tape {
	t.Helper()
	all, fd := &tape{}, -1
	err := s.Enter(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0x0300) // ETH_P_ALL
		return err
	})
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	}
	if err != nil {
		t.Fatal(err)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 1<<16); ; {
			select {
			case <-done:
				return
			default:
			}
			n, _, err := unix.Recvfrom(fd, b, 0)
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return
			}
			all.add(b[:n])
		}
	}()
	t.Cleanup(func() {
		close(done)
		<-ended
		_ = unix.Close(fd)
	})
	return all
}

// add keeps a frame, if it is one of IPv4 without options, UDP from port 4500.
func (a *tape) add(f []byte) {
	if len(f) < 46 || f[12] != 8 || f[13] != 0 || f[14] != 0x45 || f[23] != unix.IPPROTO_UDP || binary.BigEndian.Uint16(f[34:]) != 4500 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.datagrams) < 20_000 {
		a.datagrams = append(a.datagrams, taped{netip.AddrFrom4([4]byte(f[26:30])), netip.AddrFrom4([4]byte(f[30:34])), append([]byte(nil), f[42:]...)})
	}
}

// between gives the handshake messages of two hosts, and up to three packets of each SA.
func (a *tape) between(one, two *testnet.Host) (messages []eavesdrop.Message, packets [][]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var datagrams [][]byte
	seen, of := map[string]bool{}, map[uint32]int{}
	for _, d := range a.datagrams {
		ours := d.from == one.Addr && d.to == two.Addr || d.from == two.Addr && d.to == one.Addr
		if !ours || seen[string(d.payload)] { // each frame passes two ports
			continue
		}
		seen[string(d.payload)] = true
		switch spi := eavesdrop.SPI(d.payload); {
		case spi == 0:
			datagrams = append(datagrams, d.payload[4:])
		case of[spi] < 3:
			of[spi]++
			packets = append(packets, d.payload)
		}
	}
	return eavesdrop.Messages(datagrams), packets
}
