package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// patience bounds the time from the last fault's end until all is well. A peer that was moved while it was away may be looked
// for in the wrong place for half a minute, until the tunnel's silence is noticed.
const patience = time.Minute

// settle returns when all is well: traffic between all pairs, every host in good health, all with the same facts, and in the
// routers what was there before.
func (r *rig) settle(ctx context.Context) error {
	for _, pairs := range r.traffic.pairs {
		for _, p := range pairs {
			if p != nil {
				p.mark()
			}
		}
	}
	var errs []error
	limit := patience + time.Duration(len(r.nodes))*time.Second
	churn, cancel := context.WithTimeout(ctx, 2*limit*scale())
	errs = append(errs, r.churned(churn))
	cancel()
	r.took = nil
	for _, c := range []struct {
		what  string
		do    func(context.Context) error
		limit time.Duration
	}{{"reachable", r.reachable, limit}, {"healthy", r.healthy, limit}, {"same facts", r.sameFacts, limit},
		{"true facts", r.truth, limit}, {"same tables", r.sameTables, limit}, {"members", r.council, grownUp}} {
		began := time.Now()
		errs = append(errs, testnet.Until(ctx, c.limit, func() error { return c.do(ctx) }))
		r.took = append(r.took, fmt.Sprintf("%s %.1f", c.what, time.Since(began).Seconds()))
	}
	return errors.Join(errs...)
}

// enough is how many datagrams of a pair have to arrive.
const enough = 5

// reachable says which pairs have not had datagrams and a transfer since they were marked.
func (r *rig) reachable(context.Context) error {
	var errs []error
	for i, pairs := range r.traffic.pairs {
		for j, p := range pairs {
			if p == nil {
				continue
			}
			if n := p.arrived.Load() - p.markArrived; n < enough {
				errs = append(errs, fmt.Errorf("%s to %s: %d datagrams arrived", name(i), name(j), n))
			}
			if p.transfers.Load() == p.markTransfers {
				errs = append(errs, fmt.Errorf("%s to %s: no TCP transfer came to its end: %w", name(i), name(j), p.why()))
			}
		}
	}
	return errors.Join(errs...)
}

// healthy says what `meshsec status` complains of.
func (r *rig) healthy(ctx context.Context) error {
	var errs []error
	for _, n := range r.nodes {
		var s control.Status
		if err := n.control.Get(ctx, "status", &s); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n.host.Name, err))
		} else if s.Health != control.OK || len(s.Ignored) > 0 || s.PeersUp != len(r.nodes)-1 {
			errs = append(errs, fmt.Errorf("%s: status %s, %d peers up: %s", n.host.Name, s.Health, s.PeersUp,
				strings.Join(slices.Concat(s.Problems, s.Ignored), "; ")))
		}
	}
	return errors.Join(errs...)
}

// sameFacts compares what the agents know of the environment.
func (r *rig) sameFacts(ctx context.Context) error {
	var first string
	for i, n := range r.nodes {
		facts, err := n.facts(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", n.host.Name, err)
		}
		if i == 0 {
			first = facts
		} else if facts != first {
			return fmt.Errorf("facts of %s and %s differ:\n%s", name(0), name(i), testnet.Difference(first, facts))
		}
	}
	return nil
}

// truth compares what the agents tell of endpoints with the containers that there are.
func (r *rig) truth(ctx context.Context) error {
	var endpoints []control.Endpoint
	if err := r.nodes[0].control.Get(ctx, "endpoints", &endpoints); err != nil {
		return err
	}
	var told, are []string
	for _, e := range endpoints {
		told = append(told, fmt.Sprint(e.Addr, " on ", e.Host))
	}
	for i, n := range r.nodes {
		addrs, err := n.addrs(ctx)
		if err != nil {
			return err
		}
		for _, addr := range addrs {
			are = append(are, fmt.Sprint(addr, " on ", name(i)))
		}
	}
	slices.Sort(told)
	slices.Sort(are)
	if !slices.Equal(told, are) {
		return fmt.Errorf("endpoints in the facts: %v; containers: %v", told, are)
	}
	return nil
}

// facts are the views that must be alike on all hosts.
func (n *node) facts(ctx context.Context) (string, error) {
	var hosts []control.Host
	var networks []control.Network
	var endpoints []control.Endpoint
	var blocks []control.Block
	for view, v := range map[string]any{"hosts": &hosts, "networks": &networks, "endpoints": &endpoints, "blocks": &blocks} {
		if err := n.control.Get(ctx, view, v); err != nil {
			return "", err
		}
	}
	for i := range hosts {
		if !hosts[i].Alive {
			return "", fmt.Errorf("%s is not alive in etcd", hosts[i].Name)
		}
		hosts[i].Self = false
	}
	for i := range networks {
		networks[i].DockerID = "" // each Docker has one of its own
	}
	text, err := json.MarshalIndent([]any{hosts, networks, endpoints, blocks}, "", " ")
	return string(text), err
}

// sameTables compares what the routers and hosts hold with what they held when all was well.
func (r *rig) sameTables(ctx context.Context) error {
	if r.tables == nil { // this is how it begins
		return nil
	}
	now, err := r.readTables(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for host, text := range now {
		if d := testnet.Difference(r.tables[host], text); d != "" {
			errs = append(errs, fmt.Errorf("in the tables of %s:\n%s", host, d))
		}
	}
	return errors.Join(errs...)
}

// readTables lists links, routes and neighbours, a line for each, without what changes by itself.
func (r *rig) readTables(ctx context.Context) (map[string]string, error) {
	const script = `
		links() { ip -o link show | awk -v w="$1" -F'[ @:]+' '{m=""; for (i=3;i<NF;i++) if ($i=="master") m=$(i+1); print w, "link", $2, m}'; }
		links host
		ip -4 -o addr show | awk '{print "host address", $2, $4}'
		ip -4 route show | awk '{print "host route", $1}'
		router() { nsenter --net=/run/meshsec/router "$@"; }
		router ip -o link show | awk -F'[ @:]+' '{m=""; for (i=3;i<NF;i++) if ($i=="master") m=$(i+1); print "router link", $2, m, ($0 ~ /[<,]UP[,>]/)}'
		router ip -4 -o addr show | awk '{print "router address", $2, $4}'
		router ip -4 route show table all | awk '{d=""; for (i=1;i<NF;i++) if ($i=="dev") d=$(i+1); t=$1; if (t=="local"||t=="broadcast"||t=="unreachable") t=t" "$2; print "route", t, d}'
		router ip -4 neigh show nud permanent | awk '{print "neighbour", $1, $3}'
		router ip -4 neigh show | awk '$NF != "FAILED" && $NF != "INCOMPLETE" {print "~neighbour", $1}'
		ip xfrm policy | awk '/if_id/ {print "policy", $0}' | sort | uniq -c`
	all := map[string]string{}
	for _, n := range r.nodes {
		out, err := n.host.Run(ctx, "sh", "-c", script)
		if err != nil {
			return nil, err
		}
		all[n.host.Name] = r.tidy(n, out)
	}
	return all, nil
}

// tidy sorts the lines, and leaves out of what was learned from the host's container what may be there or not.
func (r *rig) tidy(n *node, text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "~neighbour "+n.container.Addr.String() || line == "" {
			continue
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
