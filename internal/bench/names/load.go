package main

import (
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"time"

	"math/rand/v2"
)

// load asks for names at random.
type load struct {
	conn      net.Conn
	questions [][]byte
	buf       [2048]byte
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
	return l, nil
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

func (l *load) send() error {
	q := l.questions[rand.IntN(len(l.questions))]
	l.id++
	binary.BigEndian.PutUint16(q, l.id)
	_, err := l.conn.Write(q)
	return err
}

// window is how many questions are under way at a time.
const window = 64

// flood asks as fast as answers come, and counts them.
func (l *load) flood(d time.Duration) (answers int, err error) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for range window {
			if err := l.send(); err != nil {
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
	if err := l.send(); err != nil {
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
