package main

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// serviceMetrics shows at each scrape what the services have done.
type serviceMetrics struct{ a *agent }

var (
	descNames       = prometheus.NewDesc("meshsec_directory_endpoints", "Endpoints that DNS and metadata know, of all hosts.", nil, nil)
	descFactsAge    = prometheus.NewDesc("meshsec_directory_age_seconds", "How long ago etcd was reached; 0: it is now.", nil, nil)
	descDNSReplies  = prometheus.NewDesc("meshsec_dns_replies_total", "Answers to containers, by response code.", []string{"rcode"}, nil)
	descDNSDrops    = prometheus.NewDesc("meshsec_dns_drops_total", "Questions that were not answered, or refused, by reason.", []string{"reason"}, nil)
	descDNSForward  = prometheus.NewDesc("meshsec_dns_forwarded_total", "Questions that the host's resolvers were asked.", nil, nil)
	descMetaReplies = prometheus.NewDesc("meshsec_metadata_replies_total", "Answers to containers, by HTTP status.", []string{"code"}, nil)
	descMetaRefused = prometheus.NewDesc("meshsec_metadata_refused_total", "Connections beyond what a container may have.", nil, nil)
	descMetaWaiting = prometheus.NewDesc("meshsec_metadata_waiting", "Requests that wait for a change.", nil, nil)
	descDNSWaiting  = prometheus.NewDesc("meshsec_dns_waiting", "Questions that wait for the host's resolvers.", nil, nil)
)

// Describe implements prometheus.Collector.
func (serviceMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descNames, descFactsAge, descDNSReplies, descDNSDrops, descDNSForward, descDNSWaiting,
		descMetaReplies, descMetaRefused, descMetaWaiting} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m serviceMetrics) Collect(ch chan<- prometheus.Metric) {
	n := m.a.node.Load()
	if n == nil {
		return
	}
	show := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	names, _ := n.services.board.Now()
	age, _ := n.age()
	show(descNames, prometheus.GaugeValue, float64(names.Len()))
	show(descFactsAge, prometheus.GaugeValue, age.Seconds())
	if n.services.metadata != nil {
		s := n.services.metadata.Stats()
		for code, count := range s.Replies {
			show(descMetaReplies, prometheus.CounterValue, float64(count), strconv.Itoa(code))
		}
		show(descMetaRefused, prometheus.CounterValue, float64(s.Refused))
		show(descMetaWaiting, prometheus.GaugeValue, float64(s.Waiting))
	}
	if n.services.dns == nil {
		return
	}
	s := n.services.dns.Stats()
	for rcode, count := range s.Replies {
		show(descDNSReplies, prometheus.CounterValue, float64(count), rcode)
	}
	for reason, count := range s.Drops {
		show(descDNSDrops, prometheus.CounterValue, float64(count), reason)
	}
	show(descDNSForward, prometheus.CounterValue, float64(s.Forwarded))
	show(descDNSWaiting, prometheus.GaugeValue, float64(s.Waiting))
}
