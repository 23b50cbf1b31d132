package main

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// load asks for names at random.
type load struct {
	conn      net.Conn
	questions [][]byte
	buf       [4096]byte
	id        uint16
}

func newLoad(addr string, names int) (*load, error) {
	conn, err := net.Dial("udp4", addr)
	if err != nil {
		return nil, err
	}
	l := &load{conn: conn}
	for i := range names {
		l.questions = append(l.questions, question(nameOf(i)))
	}
	// All questions are of one length, so that the kernel takes a window of them in one call (udp(7), UDP_SEGMENT): the load
	// must cost less than the answers, or the servers would not have enough to do.
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	control := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, len(l.questions[0]))
	})
	_ = conn.(*net.UDPConn).SetReadBuffer(4 << 20)
	return l, errors.Join(control, err)
}

func (l *load) close() { _ = l.conn.Close() }

// question is a question for an address, without an ID.
func question(name string) []byte {
	b := []byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0, 0, 1, 0, 1)
}

// send sends n questions, window at most.
func (l *load) send(n int) error {
	b := l.buf[:0]
	for range n {
		l.id++
		q := l.questions[rand.IntN(len(l.questions))]
		b = append(binary.BigEndian.AppendUint16(b, l.id), q[2:]...)
	}
	_, err := l.conn.Write(b)
	return err
}

// window is how many questions are sent at once; twice as many are under way.
const window = 32

// flood asks as fast as answers come, and counts them.
func (l *load) flood(d time.Duration) (answers int, err error) {
	if err := l.send(window); err != nil {
		return 0, err
	}
	for end, more := time.Now().Add(d), true; more; {
		if more = time.Now().Before(end); more {
			if err := l.send(window); err != nil {
				return answers, err
			}
		}
		_ = l.conn.SetReadDeadline(time.Now().Add(time.Second))
		for range window {
			n, err := l.conn.Read(l.buf[:])
			if err != nil {
				return answers, err
			}
			if n < 12 || l.buf[3]&15 != 0 || l.buf[7] != 1 {
				return answers, errors.New("a question was not answered with an address")
			}
			answers++
		}
	}
	return answers, nil
}

// ask times one question.
func (l *load) ask() (time.Duration, error) {
	began := time.Now()
	if err := l.send(1); err != nil {
		return 0, err
	}
	_ = l.conn.SetReadDeadline(began.Add(time.Second))
	_, err := l.conn.Read(l.buf[:])
	return time.Since(began), err
}

// paced asks so many times a second.
func (l *load) paced(rate int, d time.Duration) (took []time.Duration, err error) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-tick.C
		t, err := l.ask()
		if err != nil {
			return took, err
		}
		took = append(took, t)
	}
	return took, nil
}
