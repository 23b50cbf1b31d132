package xfrm

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// transferSize is small: the machine emulates its processors.
const transferSize = 2 << 20

// transfer sends random bytes by TCP from one container to the other, and compares.
func transfer(t testing.TB, from, to *host) {
	t.Helper()
	data := make([]byte, transferSize)
	_, _ = rand.Read(data)
	var l net.Listener
	to.must(to.inside(to.cell, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("%s:0", to.container))
		return err
	}))
	defer func() { _ = l.Close() }()
	sum := make(chan [sha256.Size]byte, 1)
	go func() {
		defer close(sum)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(patience))
		h := sha256.New()
		if _, err := io.Copy(h, c); err == nil {
			sum <- [sha256.Size]byte(h.Sum(nil))
		}
	}()
	from.must(from.inside(from.cell, func() error {
		c, err := net.DialTimeout("tcp4", l.Addr().String(), patience)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = io.Copy(c, bytes.NewReader(data))
		return err
	}))
	if got := <-sum; got != sha256.Sum256(data) {
		t.Errorf("%s to %s: other bytes arrived", from.name, to.name)
	}
}
