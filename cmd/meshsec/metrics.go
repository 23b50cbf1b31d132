package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meshsec/meshsec/control"
)

// metrics are what /metrics shows. Everything that the views know is read from them at scrape time; only the plugin's
// calls are counted as they happen.
type metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.HistogramVec
}

func newMetrics(src control.Source) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "meshsec_plugin_call_seconds", Help: "Docker's calls to the plugin.",
		Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30},
	}, []string{"method", "result"})}
	m.registry.MustRegister(m.calls, views{src}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) observe(method string, took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.calls.WithLabelValues(method, result).Observe(took.Seconds())
}

// serve answers /metrics, /healthz (the process answers) and /readyz (containers are served) until ctx ends.
func (m *metrics) serve(ctx context.Context, listen string, src control.Source) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("setting LISTEN: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := src.Status()
		if s.Health == control.Broken {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"health": s.Health, "problems": s.Problems})
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// views turns the control socket's views into metrics at each scrape.
type views struct{ src control.Source }

var (
	descPeerUp    = prometheus.NewDesc("meshsec_peer_up", "1 when the tunnel to the peer is up.", []string{"peer"}, nil)
	descPeerRTT   = prometheus.NewDesc("meshsec_peer_rtt_seconds", "Round-trip time of the last probe through the tunnel.", []string{"peer"}, nil)
	descPeerBytes = prometheus.NewDesc("meshsec_peer_bytes_total", "Inner bytes.", []string{"peer", "dir"}, nil)
	descDrops     = prometheus.NewDesc("meshsec_drops_total", "Packets dropped; peer is empty for those of no peer.", []string{"peer", "reason"}, nil)
	descRevision  = prometheus.NewDesc("meshsec_revision", "Revision of the facts: in the store, and applied on this host.", []string{"kind"}, nil)
	descFacts     = prometheus.NewDesc("meshsec_facts", "Facts of the environment.", []string{"kind"}, nil)
	descHealth    = prometheus.NewDesc("meshsec_health", "1 for the host's present health.", []string{"health"}, nil)
	descEtcd      = prometheus.NewDesc("meshsec_etcd_reachable", "1 when etcd answers.", nil, nil)
)

// Describe implements prometheus.Collector.
func (views) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPeerUp, descPeerRTT, descPeerBytes, descDrops, descRevision, descFacts, descHealth, descEtcd} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (v views) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, f float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, f, labels...)
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	s := v.src.Status()
	for _, h := range []control.Health{control.OK, control.Degraded, control.Broken} {
		gauge(descHealth, oneIf(s.Health == h), string(h))
	}
	gauge(descEtcd, oneIf(s.Etcd.Reachable))
	gauge(descRevision, float64(s.Revision), "store")
	gauge(descRevision, float64(s.Applied), "applied")
	for kind, n := range map[string]int{"hosts": s.Hosts, "networks": s.Networks, "endpoints": s.Endpoints, "blocks": s.Blocks} {
		gauge(descFacts, float64(n), kind)
	}
	for reason, n := range s.Drops {
		counter(descDrops, n, "", reason)
	}
	for _, p := range v.src.Peers() {
		// The ID, because two hosts may have one name, and a metric twice would fail the whole scrape.
		peer := p.Name + "/" + p.ID
		gauge(descPeerUp, oneIf(p.State == "up"), peer)
		gauge(descPeerRTT, p.RTT.Seconds(), peer)
		counter(descPeerBytes, p.RxBytes, peer, "rx")
		counter(descPeerBytes, p.TxBytes, peer, "tx")
		for reason, n := range p.Drops {
			counter(descDrops, n, peer, reason)
		}
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
