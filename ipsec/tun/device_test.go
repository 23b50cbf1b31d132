package tun

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDeviceErrors(t *testing.T) {
	for _, c := range []struct {
		got  error
		want string
		is   error
	}{
		{openError(unix.ENOENT), "/dev/net/tun is missing: ", unix.ENOENT},
		{openError(unix.ENODEV), "/dev/net/tun is missing: ", unix.ENODEV},
		{openError(unix.EPERM), "/dev/net/tun may not be opened: ", unix.EPERM},
		{openError(unix.EMFILE), "/dev/net/tun: too many open files", unix.EMFILE},
		{attachError("mesh0", unix.EPERM), "no CAP_NET_ADMIN: tun mesh0: ", unix.EPERM},
		{attachError("mesh0", unix.EBUSY), "mesh0 is in use by another agent", unix.EBUSY},
		{attachError("mesh0", unix.EINVAL), "not a tun device", unix.EINVAL},
		{attachError("mesh0", unix.EBADF), "tun mesh0: bad file descriptor", unix.EBADF},
	} {
		if !strings.Contains(c.got.Error(), c.want) || !errors.Is(c.got, c.is) {
			t.Errorf("%v, want %q", c.got, c.want)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	w, _ := newWorld(t)
	sa := testSA(0x2001)
	c := configOf(peerAt("b", addrB, loopback(w.Plane), nil, &sa))
	c.Peers[0].In = append(c.Peers[0].In, testSA(0x1001))
	w.publish(c)
	tx := newTransmitter(w.Plane)
	large, small := testTCP(1, flagACK, 60000), testIPv4(17, make([]byte, 100))
	transmit := func(h vnet, packet []byte) func() {
		return func() {
			n := copy(tx.buf[vnetSize:], packet)
			tx.packet(w.device.Load(), h, tx.buf[vnetSize:vnetSize+n])
		}
	}
	run := make([]byte, 0, maxPacket)
	segments := cut(large, ipSize+32, 1386)
	for _, s := range segments {
		copy(s[12:16], addrB.AsSlice())
		copy(s[16:20], addrA.AsSlice())
		finishIP(s[:ipSize])
		finishTCP(s)
	}
	for name, fn := range map[string]func(){
		"single":      transmit(vnet{}, small),
		"segments":    transmit(vnet{needsCsum, gsoTCPv4, 0, 1386, ipSize, tcpChecked}, large),
		"unreachable": transmit(vnet{}, testIPv4From(addrA, addrC, 17, nil)),
		"receive": func() {
			run = run[:0]
			size := 0
			for i, s := range segments[:40] {
				run, _ = w.fromB.Seal(run, s)
				if i == 0 {
					size = len(run)
				}
			}
			w.rx.receive(run, size, stranger)
		},
	} {
		fn()
		if n := testing.AllocsPerRun(50, fn); n >= 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if s, _ := w.Stats(); s.Peers[0].RxPackets == 0 || len(s.Peers[0].Drops) > 1 { // the pipe is full in the end: "tun"
		t.Errorf("%+v", s)
	}
}
