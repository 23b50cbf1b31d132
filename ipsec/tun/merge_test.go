package tun

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// merged gives what comes out of the device when packets go in as one batch.
func merged(t testing.TB, packets ...[]byte) [][]byte {
	t.Helper()
	d, far := pipeDevice(t)
	m := &merger{}
	m.init()
	m.start(d)
	stats := &peerStats{}
	total := 0
	for _, p := range packets {
		m.add(slices.Clone(p), stats)
		total += len(p)
	}
	m.flush()
	if n := stats.rxPackets.Load(); int(n) != len(packets) || int(stats.rxBytes.Load()) != total {
		t.Errorf("%d packets and %d bytes counted", n, stats.rxBytes.Load())
	}
	return written(t, far)
}

// Cutting and merging give the packet back, except for what only the first or only a cut one has.
func TestMergeUndoesSegments(t *testing.T) {
	for _, n := range []int{2800, 2801, 1401, 14000, 60000} {
		whole := testTCP(9, flagACK|flagPSH, n)
		got := merged(t, cut(whole, ipSize+32, 1400)...)
		if len(got) != 1 {
			t.Fatalf("%d bytes: %d packets", n, len(got))
		}
		h, ip := parseVnet(got[0]), got[0][vnetSize:]
		if want := (vnet{needsCsum, gsoTCPv4, ipSize + 32, 1400, ipSize, tcpChecked}); h != want {
			t.Errorf("%d bytes: %+v", n, h)
		}
		if !finish(h, ip) || !bytes.Equal(ip, whole) {
			t.Errorf("%d bytes: the packet differs", n)
		}
	}
}

// All else is written singly, in order, bit by bit as it came.
func TestNotMerged(t *testing.T) {
	first := func() []byte { return testTCP(1000, flagACK, 500) }
	second := func(change func(ip []byte)) []byte {
		ip := testTCP(1500, flagACK, 500)
		change(ip)
		finishIP(ip[:ipSize])
		finishTCP(ip)
		return ip
	}
	set := func(at int, v byte) []byte { return second(func(ip []byte) { ip[at] = v }) }
	wrongSum := testTCP(1500, flagACK, 500)
	wrongSum[ipSize+tcpChecked]++
	wrongIPSum := testTCP(1500, flagACK, 500)
	wrongIPSum[10]++
	for name, c := range map[string][2][]byte{
		"gap":                   {first(), testTCP(1501, flagACK, 500)},
		"repeated":              {first(), first()},
		"reversed":              {testTCP(1500, flagACK, 500), first()},
		"longer":                {first(), testTCP(1500, flagACK, 501)},
		"after a shorter":       {first(), testTCP(1500, flagACK, 0)},
		"after PSH":             {testTCP(1000, flagACK|flagPSH, 500), testTCP(1500, flagACK, 500)},
		"SYN":                   {first(), testTCP(1500, flagACK|2, 500)},
		"FIN":                   {first(), testTCP(1500, flagACK|flagFIN, 500)},
		"CWR":                   {first(), testTCP(1500, flagACK|flagCWR, 500)},
		"no ACK":                {first(), testTCP(1500, 0, 500)},
		"type of service":       {first(), set(1, 0x03)},
		"DF":                    {first(), set(6, 0)},
		"fragment":              {first(), set(6, 0x20)},
		"TTL":                   {first(), set(8, 63)},
		"source":                {first(), set(15, 10)},
		"destination":           {first(), set(19, 10)},
		"source port":           {first(), set(ipSize, 1)},
		"destination port":      {first(), set(ipSize+3, 1)},
		"ACK number":            {first(), set(ipSize+11, 1)},
		"window":                {first(), set(ipSize+15, 1)},
		"urgent pointer":        {first(), set(ipSize+19, 1)},
		"timestamp":             {first(), set(ipSize+25, 77)},
		"header length":         {first(), set(ipSize+12, 7<<4)},
		"wrong checksum":        {first(), wrongSum},
		"wrong checksum, first": {wrongSum, testTCP(2000, flagACK, 500)},
		"wrong IP checksum":     {first(), wrongIPSum},
		"udp":                   {first(), testIPv4(17, make([]byte, 100))},
		"no TCP header":         {first(), testIPv4(protoTCP, make([]byte, 10))},
	} {
		got := merged(t, c[0], c[1])
		if len(got) != 2 {
			t.Errorf("%s: %d packets", name, len(got))
			continue
		}
		for i := range got {
			if parseVnet(got[i]) != (vnet{}) || !bytes.Equal(got[i][vnetSize:], c[i]) {
				t.Errorf("%s: packet %d is not as it came", name, i)
			}
		}
	}
}

func TestMergeGroups(t *testing.T) {
	var in [][]byte
	seq := uint32(0)
	for _, n := range []int{100, 100, 100, 50, 100, 100, 0, 100} { // 50 is the last of its group; an empty one is alone
		in = append(in, testTCP(seq, flagACK, n))
		seq += uint32(n)
	}
	var sizes []int
	for _, p := range merged(t, in...) {
		sizes = append(sizes, len(p)-vnetSize-ipSize-32)
	}
	if !slices.Equal(sizes, []int{350, 200, 0, 100}) {
		t.Errorf("%v", sizes)
	}
	// Neither more pieces than one write takes nor more bytes than a packet has.
	in, seq = nil, 0
	for range 2 * maxPieces {
		in = append(in, testTCP(seq, flagACK, 1400))
		seq += 1400
	}
	total := 0
	for _, p := range merged(t, in...) {
		if n := binary.BigEndian.Uint16(p[vnetSize+2:]); int(n) != len(p)-vnetSize {
			t.Errorf("total length %d of %d", n, len(p)-vnetSize)
		}
		total += len(p) - vnetSize - ipSize - 32
	}
	if total != int(seq) {
		t.Errorf("%d bytes of %d", total, seq)
	}
}

func TestDeviceRefuses(t *testing.T) {
	d, _ := pipeDevice(t)
	_ = d.close()
	m, stats := &merger{}, &peerStats{}
	m.init()
	m.start(d)
	m.add(testTCP(0, flagACK, 10), stats)
	m.add(testTCP(10, flagACK, 10), stats)
	m.flush()
	if n := stats.drops.count()["tun"]; n != 2 || stats.rxPackets.Load() != 0 {
		t.Errorf("%v", stats.drops.count())
	}
}
