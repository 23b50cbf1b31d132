package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/store"
)

const stormHead = "| | all tunnels up after, with routes where there are containers: median host | slowest | processor time of the agent with etcd | … of another, median | largest " +
	"| memory, with etcd | … largest other | calls of etcd for each host | of these, that write | connections to etcd for each host " +
	"| handshake datagrams for each pair of hosts | warnings and errors logged for each host |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"

// countHandshakes makes rules of nft(8) that count the handshake's datagrams that a host sends: those with RFC 3948's
// non-ESP marker. They do not touch what the agent has.
const countHandshakes = `nft -f - <<END
table inet mst-storm {
	counter handshakes {}
	counter connections {}
	chain out {
		type filter hook output priority 0
		udp dport 4500 @th,64,32 0 counter name handshakes
		tcp dport 2379 tcp flags & (syn|ack) == syn counter name connections
	}
}
END
`

// sent are the handshake datagrams and the connections to etcd that all hosts have begun since they were asked last.
func (s *stormHosts) sent(ctx context.Context) (handshakes, connections int, err error) {
	for _, h := range s.Hosts {
		text, err := h.Run(ctx, "nft", "reset", "counters", "table", "inet", "mst-storm")
		if err != nil {
			return 0, 0, err
		}
		for name, sum := range map[string]*int{"handshakes": &handshakes, "connections": &connections} {
			_, rest, _ := strings.Cut(text, "counter "+name+" {")
			var n int
			if _, err := fmt.Sscanf(strings.TrimSpace(rest), "packets %d", &n); err != nil {
				return 0, 0, fmt.Errorf("%s: %q: %w", h.Name, text, err)
			}
			*sum += n
		}
	}
	return handshakes, connections, nil
}

// etcdFigures are what the first host's etcd has been asked since it was started.
type etcdFigures struct{ calls, writes float64 }

// etcdFigures reads them from etcd's own metrics.
func (s *stormHosts) etcdFigures(ctx context.Context) (f etcdFigures, err error) {
	founder := s.Hosts[0]
	config, endpoints, err := access(ctx, founder)
	if err != nil {
		return f, err
	}
	config.ServerName = store.ServerName
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = founder.Enter(func() (err error) {
				conn, err = new(net.Dialer).DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoints[0]+"/metrics", nil)
	if err != nil {
		return f, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return f, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		var n float64
		if _, err := fmt.Sscan(value, &n); err != nil {
			continue // a comment
		}
		switch {
		case strings.HasPrefix(name, "grpc_server_started_total{"):
			f.calls += n
		case name == "etcd_mvcc_put_total", name == "etcd_mvcc_delete_total":
			f.writes += n
		}
	}
	if err := lines.Err(); err != nil {
		return f, err
	}
	if resp.StatusCode != http.StatusOK || f.calls == 0 {
		return f, fmt.Errorf("etcd's metrics: %s, no calls in them", resp.Status)
	}
	return f, nil
}

// figures prints a line of the table.
func (s *stormHosts) figures(ctx context.Context, what string, took []time.Duration, before etcdFigures) error {
	all, err := usages(s.Cluster)
	if err != nil {
		return err
	}
	etcd, err := s.etcdFigures(ctx)
	if err != nil {
		return err
	}
	handshakes, connections, err := s.sent(ctx)
	if err != nil {
		return err
	}
	var others []time.Duration
	var memory uint64
	for _, u := range all[1:] {
		others = append(others, u.cpu)
		memory = max(memory, u.memory)
	}
	complaints := 0
	for i := range s.Hosts {
		complaints += s.complaints(s.agents[i], i)
	}
	n := float64(len(s.Hosts))
	_, err = fmt.Printf("| %s | %.1f s | %.1f s | %.2f s | %.2f s | %.2f s | %.0f MiB | %.0f MiB | %.1f | %.1f | %.1f | %.2f | %.1f |\n", what,
		quantile(took, 0.5).Seconds(), quantile(took, 1).Seconds(), all[0].cpu.Seconds(), quantile(others, 0.5).Seconds(), quantile(others, 1).Seconds(),
		float64(all[0].memory)/1024, float64(memory)/1024, (etcd.calls-before.calls)/n, (etcd.writes-before.writes)/n, float64(connections)/n,
		float64(handshakes)/(n*(n-1)/2), float64(complaints)/n)
	return err
}

// complaints counts what an agent has logged of warnings and errors since it was asked last.
func (s *stormHosts) complaints(p *testnet.Process, i int) int {
	text := p.Output()
	news := text[s.logged[i]:]
	s.logged[i] = len(text)
	return strings.Count(news, "level=warning") + strings.Count(news, "level=error")
}
