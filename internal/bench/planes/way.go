package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

// way is one of what is compared: how packets get from a container on host 1 to one on host 2.
type way struct {
	name string
	ends [2]*testnet.Container

	mtu      int // of the containers' interface, bytes
	overhead int // bytes of the underlay's packet around the container's
	rounds   []figures
}

// figures are those of one round.
type figures struct {
	mbits float64 // TCP, one stream, per second
	rtt   float64 // ms, average of a flood
}

// payload is the size of the pings whose packets are looked at on the underlay; nothing else there has their size.
const payload = 1100

// open waits until the way is, and takes what does not change from round to round.
func (w *way) open(ctx context.Context) error {
	from, to := w.ends[0], w.ends[1]
	err := testnet.Until(ctx, time.Minute, func() error {
		_, err := from.Run(ctx, "ping", "-c", "1", "-W", "2", to.Addr.String())
		return err
	})
	if err != nil {
		return err
	}
	if _, err := to.Start("iperf-"+to.Name, "iperf3", "-s"); err != nil {
		return err
	}
	mtu, err := from.Run(ctx, "sh", "-c", "ip -o link show dev $(ip -o route get "+to.Addr.String()+" | sed 's/.* dev \\([^ ]*\\).*/\\1/')")
	if err != nil {
		return err
	}
	m := regexp.MustCompile(` mtu (\d+) `).FindStringSubmatch(mtu)
	if m == nil {
		return fmt.Errorf("no MTU: %s", mtu)
	}
	if w.mtu, err = strconv.Atoi(m[1]); err != nil {
		return err
	}
	return w.look(ctx)
}

// look finds the overhead by looking at a packet on the underlay.
func (w *way) look(ctx context.Context) error {
	from, to := w.ends[0], w.ends[1]
	large := fmt.Sprintf("greater %d and not tcp and not port 7946 and (src %s or src %s)", payload, from.Host.Addr, from.Addr) // 7946: Swarm's gossip
	shown, err := from.Host.Start("tcpdump-"+from.Name, nil, "tcpdump", "-lnnei", "eth0", "-c", "1", large)
	if err != nil {
		return err
	}
	err = testnet.Until(ctx, time.Minute, func() error {
		if _, err := from.Run(ctx, "ping", "-c", "1", "-s", strconv.Itoa(payload), to.Addr.String()); err != nil {
			return err
		}
		select {
		case <-shown.Done():
			return nil
		default: // it had not begun
			return errors.New("not seen on the underlay")
		}
	})
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`length (\d+):`).FindStringSubmatch(shown.Output())
	if m == nil {
		return fmt.Errorf("tcpdump: %s", shown.Output())
	}
	frame, err := strconv.Atoi(m[1])
	w.overhead = frame - 14 - (payload + 28) // Ethernet; IP and ICMP
	return err
}

// measure takes the figures of one round.
func (w *way) measure(ctx context.Context, pings int, length time.Duration) (err error) {
	var f figures
	to := w.ends[1].Addr.String()
	out, err := w.ends[0].Run(ctx, "iperf3", "-c", to, "-J", "-t", strconv.Itoa(int(length.Seconds())))
	if err != nil {
		return err
	}
	var reply struct {
		End struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out), &reply); err != nil {
		return err
	}
	if f.mbits = reply.End.Received.Rate / 1e6; f.mbits == 0 {
		return fmt.Errorf("iperf3: nothing received: %s", out)
	}
	if out, err = w.ends[0].Run(ctx, "ping", "-f", "-q", "-c", strconv.Itoa(pings), to); err != nil {
		return err
	}
	m := regexp.MustCompile(`= [\d.]+/([\d.]+)/`).FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("ping: %s", out)
	}
	if f.rtt, err = strconv.ParseFloat(m[1], 64); err != nil {
		return err
	}
	w.rounds = append(w.rounds, f)
	return nil
}
