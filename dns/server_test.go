package dns

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/meshsec/meshsec/directory"
	"github.com/meshsec/meshsec/store"
)

const patience = 10 * time.Second

// exchange asks as one of the containers: its address on loopback.
func exchange(t testing.TB, network, server string, from netip.Addr, q *dns.Msg) *dns.Msg {
	t.Helper()
	var local net.Addr = &net.UDPAddr{IP: from.AsSlice()}
	if network == "tcp" {
		local = &net.TCPAddr{IP: from.AsSlice()}
	}
	c := dns.Client{Net: network, Timeout: patience, Dialer: &net.Dialer{LocalAddr: local}}
	r, _, err := c.Exchange(q, server)
	if err != nil {
		t.Fatalf("%s %v: %v", network, q.Question, err)
	}
	return r
}

func question(name string, kind uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
}

func TestServerByUDPAndTCP(t *testing.T) {
	s, at := served(t, Options{})
	for _, network := range []string{"udp", "tcp"} {
		for name, want := range map[string]string{"db": "10.43.64.2", "none.meshsec.internal": "NXDOMAIN", "example.test": "SERVFAIL"} { // no resolvers
			if got := says(exchange(t, network, at, me, question(name, dns.TypeA))); got != want {
				t.Errorf("%s %s: %s, want %s", network, name, got, want)
			}
		}
	}
	if st := s.Stats(); st.Replies["NOERROR"] != 2 || st.Replies["NXDOMAIN"] != 2 || st.Replies["SERVFAIL"] != 2 || st.Forwarded != 2 || st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}

// TestStrangersAreRefused: who is no container of this host, so that the source guard does not vouch for the address, learns
// nothing, and gets no more bytes than he sent.
func TestStrangersAreRefused(t *testing.T) {
	_, at := served(t, Options{})
	stranger := netip.MustParseAddr("127.0.0.9")
	for _, q := range []*dns.Msg{question("db", dns.TypeA), question("example.test", dns.TypeA), question("db", dns.TypeA).SetEdns0(4096, true)} {
		sent := must(q.Pack())(t)
		for _, network := range []string{"udp", "tcp"} {
			r := exchange(t, network, at, stranger, q)
			if r.Rcode != dns.RcodeRefused || len(r.Answer) != 0 {
				t.Errorf("%s: %v", network, r)
			}
			if got := must(r.Pack())(t); len(got) > amplification*len(sent) {
				t.Errorf("%d bytes for %d", len(got), len(sent))
			}
		}
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestMessagesThatAreNoQuestions(t *testing.T) {
	_, at := served(t, Options{})
	edit := func(change func(*dns.Msg)) *dns.Msg {
		q := question("db", dns.TypeA)
		change(q)
		return q
	}
	for what, c := range map[string]struct {
		q     *dns.Msg
		rcode int
	}{
		"an update":     {edit(func(q *dns.Msg) { q.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		"a transfer":    {edit(func(q *dns.Msg) { q.Question[0].Qtype = dns.TypeAXFR }), dns.RcodeRefused},
		"chaos":         {edit(func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		"two questions": {edit(func(q *dns.Msg) { q.Question = append(q.Question, q.Question[0]) }), dns.RcodeFormatError},
		"no question":   {edit(func(q *dns.Msg) { q.Question = nil }), dns.RcodeFormatError},
		"an answer in it": {edit(func(q *dns.Msg) {
			q.Answer = []dns.RR{&dns.A{Hdr: header("db.", dns.TypeA), A: net.IPv4(1, 2, 3, 4)}}
		}), dns.RcodeFormatError},
		"EDNS version 1": {edit(func(q *dns.Msg) { q.SetEdns0(1232, false); q.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		"two EDNS records": {edit(func(q *dns.Msg) {
			q.SetEdns0(1232, false)
			q.Extra = append(q.Extra, q.Extra[0])
		}), dns.RcodeFormatError},
	} {
		r := exchange(t, "udp", at, me, c.q)
		if r.Rcode != c.rcode {
			t.Errorf("%s: %s, want %s", what, dns.RcodeToString[r.Rcode], dns.RcodeToString[c.rcode])
		}
	}
}

// TestDroppedAndMalformed: an answer gets none, or two servers could talk for ever; nor does less than a header. What has a
// header but can't be read is told so.
func TestDroppedAndMalformed(t *testing.T) {
	s, at := served(t, Options{})
	c := must(net.DialUDP("udp4", &net.UDPAddr{IP: me.AsSlice()}, must(net.ResolveUDPAddr("udp4", at))(t)))(t)
	defer c.Close()
	answer := question("db", dns.TypeA)
	answer.Response = true
	garbled := must(question("db", dns.TypeA).Pack())(t)
	long := make([]byte, ownSize+1)
	for _, b := range [][]byte{must(answer.Pack())(t), {1, 2, 3}, {}, long, garbled[:14]} {
		_ = must(c.Write(b))(t)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 2000)
	n := must(c.Read(b))(t)
	if n != 12 || binary.BigEndian.Uint16(b) != binary.BigEndian.Uint16(garbled) || b[3]&15 != dns.RcodeFormatError {
		t.Errorf("answered %x", b[:n])
	}
	if got := s.Stats().Drops; got["response"] != 1 || got["malformed"] != 2 || got["long"] != 1 {
		t.Errorf("%v", got)
	}
}

// crowd is a directory in which n containers have one name.
func crowd(n int) *directory.Board {
	snap := &store.Snapshot{Networks: map[string]store.Network{"default": {Name: "default", Pool: netip.MustParsePrefix("10.42.0.0/16")}},
		Hosts:  map[string]store.Host{self: {ID: self, Name: "one"}, far: {ID: far, Name: "two"}},
		Blocks: map[store.BlockKey]store.Claim{{Network: "default", Prefix: netip.MustParsePrefix("10.42.0.0/16")}: {Host: far}}}
	m := map[store.EndpointKey]*store.Endpoint{}
	for i := range n {
		e := store.Endpoint{Host: far, Network: "default", Name: fmt.Sprint("container-", i), Aliases: []string{"crowd"}, Ports: []store.Port{{Proto: "tcp", Port: 80}, {Proto: "udp", Port: 53}},
			Addr: netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)})}
		m[e.Key()] = &e
	}
	snap.Endpoints = map[string]map[store.EndpointKey]*store.Endpoint{far: m}
	local := &store.Local{Endpoints: map[string]store.LocalEndpoint{"me": {Endpoint: store.Endpoint{ID: "me", Host: self, Network: "default", Name: "me", Addr: me}},
		"other": {Endpoint: store.Endpoint{ID: "other", Host: self, Network: "default", Name: "other", Addr: other}}}}
	return directory.NewBoard(directory.New(self).Next(snap, local, nil))
}

// TestComplaint05LongAnswers: what does not fit into a datagram is cut there, marked, and whole by TCP; EDNS makes room.
func TestComplaint05LongAnswers(t *testing.T) {
	_, at := served(t, Options{Board: crowd(300)})
	q := question("crowd", dns.TypeA)
	for size, edns := range map[int]*dns.Msg{512: q, 1232: q.Copy().SetEdns0(1232, false), 1231: q.Copy().SetEdns0(65535, false), 513: q.Copy().SetEdns0(100, false)} {
		r := exchange(t, "udp", at, me, edns)
		r.Compress = true
		if n := len(must(r.Pack())(t)); !r.Truncated || n > size+1 || len(r.Answer) == 0 {
			t.Errorf("room for %d: %d bytes, %d answers, truncated %v", size, n, len(r.Answer), r.Truncated)
		}
	}
	if r := exchange(t, "tcp", at, me, q); r.Truncated || len(r.Answer) != 300 {
		t.Errorf("by TCP: %d answers, truncated %v", len(r.Answer), r.Truncated)
	}
	_, at = served(t, Options{Board: crowd(maxAnswers + 500)})
	if r := exchange(t, "tcp", at, me, q); len(r.Answer) != maxAnswers {
		t.Errorf("%d answers", len(r.Answer))
	}
}

func TestAContainerThatAsksTooMuchIsCutOff(t *testing.T) {
	s, at := served(t, Options{Rate: 10})
	c := must(net.DialUDP("udp4", &net.UDPAddr{IP: other.AsSlice()}, must(net.ResolveUDPAddr("udp4", at))(t)))(t)
	defer c.Close()
	raw := must(question("db", dns.TypeA).Pack())(t)
	for range 500 {
		_, _ = c.Write(raw)
	}
	if got := says(exchange(t, "udp", at, me, question("db", dns.TypeA))); got != "10.43.64.2" {
		t.Errorf("another container: %s", got)
	}
	if st := s.Stats(); st.Drops["rate"] < 300 {
		t.Errorf("%+v", st)
	}
}

// TestTCPConversations: many questions on one connection, in pieces; garbage and silence end it, others go on.
func TestTCPConversations(t *testing.T) {
	_, at := served(t, Options{})
	dial := func() net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: me.AsSlice()}}
		c := must(d.Dial("tcp4", at))(t)
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		return c
	}
	raw := must(question("db", dns.TypeA).Pack())(t)
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)
	c := dial()
	for range 20 {
		_ = must(c.Write(framed[:5]))(t)
		_ = must(c.Write(append(framed[5:len(framed):len(framed)], framed...)))(t)
	}
	for range 40 {
		var size [2]byte
		_ = must(io.ReadFull(c, size[:]))(t)
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		_ = must(io.ReadFull(c, b))(t)
		var r dns.Msg
		if err := r.Unpack(b); err != nil || says(&r) != "10.43.64.2" {
			t.Fatal(err, r)
		}
	}
	bad := dial()
	_ = must(bad.Write([]byte{0, 3, 1, 2, 3}))(t)
	if _, err := bad.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after garbage: %v", err)
	}
	_ = must(c.Write(framed))(t)
	if _, err := c.Read(make([]byte, 2)); err != nil {
		t.Errorf("the other connection: %v", err)
	}
	// One container does not take all connections.
	var conns []net.Conn
	for range maxConnsOf + 5 {
		conns = append(conns, dial())
	}
	shut := 0
	for _, c := range conns {
		_, _ = c.Write(framed)
		if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
			shut++
		}
	}
	if shut < 5 {
		t.Errorf("%d of %d connections shut", shut, len(conns))
	}
	if got := says(exchange(t, "tcp", at, other, question("db", dns.TypeA))); got != "10.43.64.2" {
		t.Errorf("another container: %s", got)
	}
}
