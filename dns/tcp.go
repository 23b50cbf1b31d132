package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/meshsec/meshsec/quota"
)

// The bounds of TCP (RFC 7766, section 6.2).
const (
	maxConns    = 1024             // connections
	maxConnsOf  = 32               // of one container
	maxPending  = 64               // questions of one connection that wait for resolvers
	idleFor     = 10 * time.Second // without a question
	writeWithin = 5 * time.Second  // a reply
	streamSize  = 1<<16 - 1        // of a message, bytes
)

// serveTCP answers connections.
func (s *Server) serveTCP(ctx context.Context, l net.Listener) error {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("dns: accept: %w", err)
		}
		group.Go(func() { s.converse(ctx, conn, quota.Remote(conn)) })
	}
}

// converse answers the questions of a connection, those for the host's resolvers in whatever order they are answered
// (RFC 7766, section 7), until it is quiet or breaks the protocol.
func (s *Server) converse(ctx context.Context, conn net.Conn, from netip.Addr) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	var pending sync.WaitGroup
	defer pending.Wait()
	defer cancel()
	slots := make(chan struct{}, maxPending)
	var writing sync.Mutex
	write := func(b []byte) bool {
		writing.Lock()
		defer writing.Unlock()
		_ = conn.SetWriteDeadline(time.Now().Add(writeWithin))
		_, err := conn.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b))), b...))
		if err != nil {
			cancel()
		}
		return err == nil
	}
	for {
		var size [2]byte
		_ = conn.SetReadDeadline(time.Now().Add(idleFor))
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		data := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, data); err != nil {
			return
		}
		z := s.zone()
		if !s.limit.Allow(s.bucket(z, from), time.Now()) {
			s.counts.drop(dropRate)
			return
		}
		out, later := s.answer(z, ask{data, from, streamSize}, nil)
		switch {
		case later != nil:
			slots <- struct{}{}
			pending.Go(func() {
				if b := later(ctx); b != nil {
					write(b)
				}
				<-slots
			})
		case out == nil || !write(out):
			return
		}
	}
}
