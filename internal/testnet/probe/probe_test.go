package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// build makes the program, as the image holds it.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "probe")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestTransfer(t *testing.T) {
	probe := build(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var corrupt atomic.Bool
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if corrupt.Load() {
				conn = &flipper{Conn: conn}
			}
			_ = answer(conn)
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	run := func() string {
		out, err := exec.Command(probe, "transfer", "-port", port, "-size", "100001", "-canary", "0102", "127.0.0.1").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := run(); !strings.Contains(out, `"bytes":100001,"up":true,"down":true`) {
		t.Error(out)
	}
	corrupt.Store(true)
	if out := run(); !strings.Contains(out, `"down":false`) {
		t.Errorf("a corrupted byte is not noticed: %s", out)
	}
}

// flipper changes one bit of what is written.
type flipper struct{ net.Conn }

func (f *flipper) Write(b []byte) (int, error) {
	changed := bytes.Clone(b)
	changed[len(b)/2] ^= 1
	return f.Conn.Write(changed)
}

func TestPing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: raw sockets")
	}
	probe := build(t)
	out, err := exec.Command(probe, "ping", "-count", "3", "-interval", "1ms", "127.0.0.1").Output()
	if err != nil || !strings.Contains(string(out), `"sent":3,"received":3`) {
		t.Errorf("%v: %s", err, out)
	}
	if lost(Ping{Sent: 3, Received: 3}) != nil || lost(Ping{Sent: 3, Received: 2}) == nil {
		t.Error("a lost packet is an error, none is not")
	}
	// For ever: a line for each answer, until it is ended.
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, probe, "ping", "-count", "0", "-interval", "1ms", "127.0.0.1")
	lines, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for b := make([]byte, 256); strings.Count(got.String(), "\n") < 5; {
		n, err := lines.Read(b)
		if err != nil {
			t.Fatalf("%v after %s", err, got.String())
		}
		got.Write(b[:n])
	}
	cancel()
	_ = cmd.Wait() // killed
	if !strings.HasPrefix(got.String(), `{"seq":1,`) {
		t.Error(got.String())
	}
}

func TestEchoChecksum(t *testing.T) {
	for n := range 20 {
		b := echo(7, 9, options{canary: "ff01"}.fill(n))
		if len(b)%2 == 1 {
			b = append(b, 0)
		}
		var sum uint32
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if sum = sum>>16 + sum&0xffff; sum+sum>>16 != 0xffff {
			t.Errorf("payload of %d: sum %x", n, sum)
		}
	}
}

func TestBody(t *testing.T) {
	pattern := []byte("0123456789abcdef")
	for _, n := range []int{0, 5, 16, 1024, 5000} {
		b := body(n, pattern)
		if len(b) != n {
			t.Errorf("%d bytes: %d", n, len(b))
		}
		if want := (n + 1023 - 15) / 1024; n >= 16 && bytes.Count(b, pattern) != want {
			t.Errorf("%d bytes: pattern %d times, want %d", n, bytes.Count(b, pattern), want)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"fly"}, {"ping", "-wings", "2"}, {"arp", "not-an-address"}, {"transfer", "-port", strconv.Itoa(1), "127.0.0.1"}} {
		if err := run(args); err == nil {
			t.Errorf("%v: accepted", args)
		}
	}
}
