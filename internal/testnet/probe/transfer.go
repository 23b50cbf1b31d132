package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Transfer is the result of the transfer subcommand.
type Transfer struct {
	Bytes int     `json:"bytes"` // in each direction
	Up    bool    `json:"up"`    // the server received what was sent
	Down  bool    `json:"down"`  // what was received is what the server sent
	MS    float64 `json:"ms"`
}

// The conversation: the client sends a length, that many bytes and their pattern's length and pattern; the server answers
// with the sum of what it got, then sends as many bytes and their sum. Sums are SHA-256.

// body is n bytes: random, with the pattern in every kilobyte.
func body(n int, pattern []byte) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	for i := 0; i+len(pattern) <= n; i += 1024 {
		copy(b[i:], pattern)
	}
	return b
}

func serve(o options) error {
	l, err := net.Listen("tcp4", ":"+strconv.Itoa(o.port))
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_ = answer(conn)
		}()
	}
}

func answer(conn net.Conn) error {
	var head [2]uint32
	if err := binary.Read(conn, binary.BigEndian, &head); err != nil {
		return err
	}
	if head[0] > 1<<30 || head[1] > 64 {
		return fmt.Errorf("refused: %d bytes, pattern of %d", head[0], head[1])
	}
	pattern := make([]byte, head[1])
	if _, err := io.ReadFull(conn, pattern); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.CopyN(sum, conn, int64(head[0])); err != nil {
		return err
	}
	b := body(int(head[0]), pattern)
	own := sha256.Sum256(b)
	_, err := conn.Write(append(append(sum.Sum(nil), b...), own[:]...))
	return err
}

func transfer(o options) error {
	start := time.Now()
	conn, err := net.DialTimeout("tcp4", net.JoinHostPort(o.address, strconv.Itoa(o.port)), o.timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(start.Add(o.timeout)); err != nil {
		return err
	}
	b, pattern := body(o.size, o.marker()), o.marker()
	head := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(pattern)))
	if _, err := conn.Write(append(append(head, pattern...), b...)); err != nil {
		return err
	}
	reply := make([]byte, sha256.Size+o.size+sha256.Size)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return err
	}
	sent, received := sha256.Sum256(b), sha256.Sum256(reply[sha256.Size:sha256.Size+o.size])
	return report(Transfer{
		Bytes: o.size,
		Up:    string(reply[:sha256.Size]) == string(sent[:]),
		Down:  string(reply[sha256.Size+o.size:]) == string(received[:]),
		MS:    float64(time.Since(start).Microseconds()) / 1000,
	})
}
