package underlay

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// record is what the handlers were called with, as text.
type record struct{ lines []string }

func (r *record) attach(s *Socket) {
	s.HandleESP(func(batch []byte, segment int, _ netip.AddrPort) {
		r.lines = append(r.lines, fmt.Sprintf("esp %d/%d %q", len(batch), segment, batch[:1]))
	})
	s.HandleHandshake(func(msg []byte, _ netip.AddrPort) {
		r.lines = append(r.lines, fmt.Sprintf("handshake %q", msg))
	})
}

func TestClassify(t *testing.T) {
	const (
		e1 = "Aesp-esp-1" // ten bytes each
		e2 = "Besp-esp-2"
		hs = "\x00\x00\x00\x00hello1"
	)
	for _, c := range []struct {
		name    string
		in      string
		segment int
		want    string
		drops   string
	}{
		{"one packet", e1, 10, `esp 10/10 "A"`, ""},
		{"one handshake message", hs, 10, `handshake "hello1"`, ""},
		{"run", e1 + e2 + e1, 10, `esp 30/10 "A"`, ""},
		{"run, last shorter", e1 + e2 + "Cesp", 10, `esp 20/10 "A"`, "map[short:1]"},
		{"run, last shorter, long enough", e1 + e2 + "Cesp5", 10, `esp 25/10 "A"`, ""},
		{"handshake in front", hs + e1 + e2, 10, `handshake "hello1"; esp 20/10 "A"`, ""},
		{"handshake between", e1 + hs + e2, 10, `esp 10/10 "A"; handshake "hello1"; esp 10/10 "B"`, ""},
		{"handshake behind", e1 + e2 + hs, 10, `esp 20/10 "A"; handshake "hello1"`, ""},
		{"handshakes only", hs + hs, 10, `handshake "hello1"; handshake "hello1"`, ""},
		{"keepalive", "\xff", 1, "", ""},
		{"keepalives", "\xff\xff\xff", 1, "", ""},
		{"keepalive behind a run", e1 + e2 + "\xff", 10, `esp 20/10 "A"`, ""},
		{"empty", "", 0, "", "map[short:1]"},
		{"one byte", "\xfe", 1, "", "map[short:1]"},
		{"three bytes", "abc", 3, "", "map[short:1]"},
		{"an SPI and no more", "abcd", 4, "", "map[short:1]"},
		{"a marker and no more", "\x00\x00\x00\x00", 4, "", "map[short:1]"},
		{"marker and a byte", "\x00\x00\x00\x00x", 5, `handshake "x"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, r := &Socket{}, &record{}
			r.attach(s)
			s.classify([]byte(c.in), c.segment, netip.AddrPort{})
			if got := strings.Join(r.lines, "; "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if want := c.drops; fmt.Sprint(s.Drops()) != want && (want != "" || len(s.Drops()) > 0) {
				t.Errorf("drops %v, want %s", s.Drops(), want)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	s := &Socket{}
	s.classify(bytes.Repeat([]byte("x"), 95), 10, netip.AddrPort{})
	s.classify([]byte("\x00\x00\x00\x00hello"), 9, netip.AddrPort{})
	if got := s.Drops()["no-handler"]; got != 11 {
		t.Errorf("%d datagrams counted, want 11", got)
	}
	s.HandleESP(func([]byte, int, netip.AddrPort) { t.Error("called") })
	s.HandleESP(nil)
	s.classify([]byte("xxxxxxxxxx"), 10, netip.AddrPort{})
}

// FuzzReceive: whatever comes in with whatever control message, every byte is handed out at most once and in order.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("Aesp-esp-1Besp-esp-2"), []byte{}, 0)
	f.Add([]byte("\x00\x00\x00\x00hello"), appendSegment(make([]byte, 0, 64), 4), 0)
	f.Add([]byte("\xff"), []byte{1, 2, 3}, 0x20)
	f.Add([]byte{}, make([]byte, 40), 0)
	f.Fuzz(func(t *testing.T, in, control []byte, flags int) {
		s, out := &Socket{}, 0
		s.HandleESP(func(batch []byte, segment int, _ netip.AddrPort) {
			if len(batch) == 0 || segment <= 0 || batch[0] == 0 && len(batch) > 3 && batch[1]|batch[2]|batch[3] == 0 {
				t.Fatalf("batch %x, segment %d", batch, segment)
			}
			out += len(batch)
		})
		s.HandleHandshake(func(msg []byte, _ netip.AddrPort) { out += len(msg) })
		s.receive(bytes.Clone(in), control, flags, netip.AddrPort{})
		if out > len(in) {
			t.Fatalf("%d bytes became %d", len(in), out)
		}
	})
}
