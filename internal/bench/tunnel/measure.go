package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// subject is one way from a client to a server.
type subject struct {
	name           string
	client, server string // namespaces
	addr           string // of the server
	pids           []int  // both ends of the tunnel
	runs           map[int][]measured
	rss            int // largest resident set of an end ever, kB
}

// measured is one transfer.
type measured struct {
	gbits   float64 // per second
	tunnel  float64 // CPU seconds of both ends of the tunnel per gigabit
	overall float64 // with iperf3's
}

func plain() *subject {
	return &subject{name: "plain veth", client: hosts[0], server: hosts[1], addr: underlayAddr[1]}
}

// transfer runs iperf3 once.
func (l *lab) transfer(ctx context.Context, s *subject, streams int, length time.Duration) (m measured, err error) {
	if s.runs == nil {
		s.runs = map[int][]measured{}
	}
	ctx, cancel := context.WithTimeout(ctx, length+30*time.Second)
	defer cancel()
	server := command(ctx, s.server, "iperf3", "-s", "-1", "-B", s.addr, "--forceflush")
	out, err := server.StdoutPipe()
	if err != nil {
		return m, err
	}
	if err := server.Start(); err != nil {
		return m, err
	}
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "listening"); {
	}
	before, err := s.cpu()
	if err != nil {
		return m, err
	}
	client := command(ctx, s.client, "iperf3", "-c", s.addr, "-J", "-t", strconv.Itoa(int(length.Seconds())), "-P", strconv.Itoa(streams))
	var reply, errs bytes.Buffer
	client.Stdout, client.Stderr = &reply, &errs
	clientErr := client.Run()
	after, err := s.cpu()
	if err != nil {
		return m, err
	}
	if clientErr != nil {
		_ = server.Process.Kill()
		_ = server.Wait()
		return m, fmt.Errorf("iperf3: %w: %s%s", clientErr, errs.Bytes(), reply.Bytes())
	}
	_, _ = bufio.NewReader(out).WriteTo(new(bytes.Buffer))
	if err := server.Wait(); err != nil {
		return m, fmt.Errorf("iperf3 server: %w", err)
	}
	bytes, rate, err := parseIperf(reply.Bytes())
	if err != nil {
		return m, err
	}
	gigabits := bytes * 8 / 1e9
	iperf := 0.0
	for _, c := range []time.Duration{client.ProcessState.UserTime(), client.ProcessState.SystemTime(), server.ProcessState.UserTime(), server.ProcessState.SystemTime()} {
		iperf += c.Seconds()
	}
	return measured{gbits: rate / 1e9, tunnel: (after - before) / gigabits, overall: (after - before + iperf) / gigabits}, nil
}

// parseIperf gives what the server has received: bytes, and bits per second.
func parseIperf(reply []byte) (bytes, rate float64, err error) {
	var r struct {
		End struct {
			Received struct {
				Bytes float64 `json:"bytes"`
				Rate  float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(reply, &r); err != nil {
		return 0, 0, fmt.Errorf("iperf3: %w", err)
	}
	if r.Error != "" || r.End.Received.Bytes <= 0 {
		return 0, 0, fmt.Errorf("iperf3: nothing received: %s", r.Error)
	}
	return r.End.Received.Bytes, r.End.Received.Rate, nil
}

// cpu gives the CPU seconds that the tunnel's processes have taken.
func (s *subject) cpu() (seconds float64, err error) {
	for _, pid := range s.pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		ticks, err := parseStat(string(b))
		if err != nil {
			return 0, err
		}
		seconds += ticks / 100 // USER_HZ is 100 on every Linux that Go runs on
	}
	return seconds, nil
}

// parseStat gives utime and stime of proc(5)'s stat, in ticks.
func parseStat(stat string) (float64, error) {
	f := strings.Fields(stat[strings.LastIndex(stat, ")")+1:]) // the command's name before it may hold anything
	if len(f) < 13 {
		return 0, fmt.Errorf("stat: %q", stat)
	}
	user, err := strconv.ParseFloat(f[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(f[12], 64)
	return user + system, err
}

// memory reads the largest resident set of the tunnel's processes.
func (s *subject) memory() error {
	for _, pid := range s.pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
				kb, err := strconv.Atoi(f[1])
				if err != nil {
					return err
				}
				s.rss = max(s.rss, kb)
			}
		}
	}
	return nil
}
