package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Ping is the result of the ping subcommand, printed at the end; with -count 0 (for ever) a Reply is printed for each answer.
type Ping struct {
	Sent     int     `json:"sent"`
	Received int     `json:"received"`
	FirstMS  float64 `json:"first_ms"` // round trip of the first answer
	BestMS   float64 `json:"best_ms"`
}

// Reply is one answer.
type Reply struct {
	Seq int     `json:"seq"`
	MS  float64 `json:"ms"`
}

// ping sends ICMP echo requests at the interval, whether or not they are answered, and waits for the last one's answer.
func ping(o options) error {
	to, err := net.ResolveIPAddr("ip4", o.address)
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return err
	}
	defer conn.Close()
	id := uint16(os.Getpid() ^ int(time.Now().UnixNano()))
	started := time.Now()
	sentAt := func(seq int) time.Time { return started.Add(time.Duration(seq-1) * o.interval) }
	replies := make(chan Reply, 64)
	go receive(conn, id, started, o.interval, replies)

	var result Ping
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	end := make(<-chan time.Time) // of the wait for answers, once all requests are sent
	send := func() {
		result.Sent++
		// An error (no route, refused by a filter) is a packet lost, as far as the tests go.
		_, _ = conn.WriteTo(echo(id, uint16(result.Sent), o.fill(o.size)), to)
		if o.count > 0 && result.Sent == o.count {
			tick.Stop()
			end = time.After(time.Until(sentAt(result.Sent).Add(o.timeout)))
		}
	}
	for send(); ; {
		select {
		case <-tick.C:
			send()
		case r := <-replies:
			result.Received++
			if result.Received == 1 {
				result.FirstMS, result.BestMS = r.MS, r.MS
			}
			result.BestMS = min(result.BestMS, r.MS)
			if o.count == 0 {
				if err := report(r); err != nil {
					return err
				}
			}
			if o.count > 0 && result.Received == o.count {
				return report(result)
			}
		case <-end:
			return errors.Join(report(result), lost(result))
		}
	}
}

func lost(p Ping) error {
	if p.Received == p.Sent {
		return nil
	}
	return fmt.Errorf("%d of %d packets lost", p.Sent-p.Received, p.Sent)
}

// echo is an ICMP echo request.
func echo(id, seq uint16, payload []byte) []byte {
	b := append([]byte{8, 0, 0, 0}, binary.BigEndian.AppendUint16(nil, id)...)
	b = append(binary.BigEndian.AppendUint16(b, seq), payload...)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
	return b
}

// receive reports each answer once.
func receive(conn net.PacketConn, id uint16, started time.Time, interval time.Duration, out chan<- Reply) {
	seen := make(map[uint16]bool)
	b := make([]byte, 1<<16)
	for {
		n, _, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		if n < 8 || b[0] != 0 || binary.BigEndian.Uint16(b[4:]) != id {
			continue
		}
		seq := binary.BigEndian.Uint16(b[6:])
		if seen[seq] {
			continue
		}
		seen[seq] = true
		took := time.Since(started.Add(time.Duration(seq-1) * interval))
		out <- Reply{Seq: int(seq), MS: float64(took.Microseconds()) / 1000}
	}
}
