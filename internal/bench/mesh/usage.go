package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
)

// usage is what an agent has used until now.
type usage struct {
	cpu    time.Duration // of its processors, for itself and in the kernel
	memory uint64        // its resident set, KiB
}

func usageOf(h *testnet.Host) (u usage, err error) {
	pid, err := h.AgentPid()
	if err != nil {
		return u, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// proc_pid_stat(5): utime and stime are the fields 14 and 15; the second one, in brackets, may hold spaces.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return u, fmt.Errorf("%s: %q: %w", h.Name, stat, err)
	}
	u.cpu = time.Duration(user+system) * (time.Second / 100) // USER_HZ
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &u.memory) // no other line begins so
	}
	return u, nil
}

// usages are those of the agents of all hosts.
func usages(c *testnet.Cluster) (all []usage, err error) {
	for _, h := range c.Hosts {
		u, err := usageOf(h)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// costs says what an endpoint has cost the founder's agent and, on average, the others, and how large they are by now, as cells of a table.
func costs(before, after []usage, endpoints int) string {
	per := func(d time.Duration, n int) string {
		return fmt.Sprintf("%.2f ms", d.Seconds()*1000/float64(n*endpoints))
	}
	var others time.Duration
	var largest uint64
	for i := 1; i < len(after); i++ {
		if i != creator {
			others += after[i].cpu - before[i].cpu
		}
		largest = max(largest, after[i].memory)
	}
	return fmt.Sprintf("%s | %s | %.1f MiB | %.1f MiB", per(after[0].cpu-before[0].cpu, 1), per(others, len(after)-2),
		float64(after[0].memory)/1024, float64(largest)/1024)
}
