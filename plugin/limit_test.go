package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A driver's context ends in time for its own error to be the answer.
func TestLimitGivesTheDriversError(t *testing.T) {
	f := &fake{hook: func(ctx context.Context, _ string) error {
		<-ctx.Done()
		return fmt.Errorf("etcd at 192.0.2.1:2379 does not answer: %w", ctx.Err())
	}}
	s := New(socket(t), quiet(io.Discard), Options{})
	s.limit = short
	s.SetBackend(f, f)
	d := serve(t, s)
	for _, c := range good {
		if !c.backend {
			continue
		}
		if _, _, text := d.ask(t, c.method, c.body); text != "meshsec: etcd at 192.0.2.1:2379 does not answer: not done in time" {
			t.Errorf("%s: %q", c.method, text)
		}
	}
}

// A driver that does not heed its context is answered for.
func TestLimitHoldsAgainstTheDriver(t *testing.T) {
	release := make(chan struct{})
	f := &fake{hook: func(context.Context, string) error { <-release; return nil }}
	s := New(socket(t), quiet(io.Discard), Options{})
	s.limit, s.last = short, 2*short
	s.SetBackend(f, f)
	d := serve(t, s)
	status, _, text := d.ask(t, good[4].method, good[4].body)
	close(release)
	if status == http.StatusOK || !strings.Contains(text, "NetworkDriver.Join is not done within") {
		t.Errorf("%d %q", status, text)
	}
}

// A client that goes away cancels what it asked for; but deletes go on, since Docker never repeats one.
func TestClientGone(t *testing.T) {
	for _, c := range good {
		if !c.backend {
			continue
		}
		in, out := make(chan struct{}), make(chan error, 1)
		gone := make(chan struct{})
		f := &fake{hook: func(ctx context.Context, method string) error {
			close(in)
			<-gone
			if once(method) {
				out <- ctx.Err() // must be alive although the client has gone
				return nil
			}
			<-ctx.Done()
			out <- ctx.Err()
			return ctx.Err()
		}}
		s := New(socket(t), quiet(io.Discard), Options{})
		s.limit = time.Minute
		s.SetBackend(f, f)
		d := serve(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-in; cancel() }()
		if _, _, _, err := d.post(ctx, c.method, c.body); !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", c.method, err)
		}
		close(gone)
		want := context.Canceled
		if once(strings.Split(c.method, ".")[1]) {
			want = nil
		}
		if err := <-out; !errors.Is(err, want) {
			t.Errorf("%s: the driver's context: %v, want %v", c.method, err, want)
		}
		if err := d.end(); err != nil {
			t.Errorf("%s: %v", c.method, err)
		}
	}
}

func once(method string) bool {
	return strings.HasPrefix(method, "Delete") || strings.HasPrefix(method, "Release") || method == "Leave"
}

// raw sends bytes as they are and returns what comes back until the connection ends or says enough.
func raw(t *testing.T, sock, text string) string {
	t.Helper()
	conn, err := net.Dial("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// 20.10 sends an empty Host header, and no Content-Type.
func TestHeadersOf2010(t *testing.T) {
	d := start(t, new(fake))
	body := good[4].body
	reply := raw(t, d.sock, fmt.Sprintf("POST /NetworkDriver.Join HTTP/1.1\r\nHost: \r\nContent-Length: %d\r\n"+
		"Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n%s", len(body), body))
	if !strings.HasPrefix(reply, "HTTP/1.1 200 OK\r\n") || !strings.Contains(reply, "application/vnd.docker.plugins.v1.1+json") {
		t.Error(reply)
	}
}

// A body that never comes whole does not hold the call for longer than its limit.
func TestBodyCutOff(t *testing.T) {
	s := New(socket(t), quiet(io.Discard), Options{})
	s.limit = short
	f := new(fake)
	s.SetBackend(f, f)
	d := serve(t, s)
	reply := raw(t, d.sock, "POST /NetworkDriver.DeleteNetwork HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{\"NetworkID\":\""+networkID+"\"}")
	if !strings.HasPrefix(reply, "HTTP/1.1 500") || !strings.Contains(reply, "read request") || len(f.seen()) != 0 {
		t.Errorf("%s %q", reply, f.seen())
	}
}
