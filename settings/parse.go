package settings

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
)

// Settings are the values, parsed and checked.
type Settings struct {
	Environment               string
	Join                      string
	PPK, PPKOld               Secret // 64 hex digits or an absolute path; PPKOld also None
	Etcd                      []string
	EtcdCA, EtcdCert, EtcdKey string
	EtcdPort, EtcdPeerPort    int
	EtcdMembers               int // of the embedded etcd: 1, 3 or 5
	Routers                   netip.Prefix
	Pools                     []netip.Prefix
	Advertise                 string
	Port                      int
	Encap, DataPlane, Scope   string
	HostID, HostName          string
	HostGrace                 time.Duration
	Services                  []string // of DNS
	Domain                    string
	MetadataToken             string
	LogLevel                  logrus.Level
	LogFormat                 string
	Listen                    string
}

var environmentName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,62})$`)

// Parse checks every value and reports all faults at once, each with the setting's name, the value and what is allowed.
func (v Values) Parse() (Settings, error) {
	p := parser{v: v}
	s := Settings{
		Environment:   p.match("ENVIRONMENT", environmentName, "lower-case letters, digits, '.', '_' and '-', 63 at most, beginning with a letter or digit"),
		Join:          v["JOIN"],
		Etcd:          p.endpoints("ETCD"),
		EtcdCA:        v["ETCD_CA"],
		EtcdCert:      v["ETCD_CERT"],
		EtcdKey:       v["ETCD_KEY"],
		EtcdPort:      p.port("ETCD_PORT"),
		EtcdPeerPort:  p.port("ETCD_PEER_PORT"),
		EtcdMembers:   p.members("ETCD_MEMBERS"),
		Routers:       p.prefix("ROUTERS", v["ROUTERS"], 8, 24),
		Pools:         p.pools("POOLS"),
		Advertise:     v["ADVERTISE"],
		Port:          p.port("PORT"),
		Encap:         p.oneOf("ENCAP", "udp", "esp"),
		DataPlane:     p.oneOf("DATAPLANE", "auto", "kernel", "userspace"),
		Scope:         p.oneOf("SCOPE", "local", GlobalScope),
		HostID:        v["HOST_ID"],
		HostName:      v["HOST_NAME"],
		HostGrace:     p.duration("HOST_GRACE", time.Minute),
		Services:      p.someOf("SERVICES", DNS, Metadata),
		Domain:        p.domain("DOMAIN"),
		MetadataToken: p.oneOf("METADATA_TOKEN", TokenOptional, TokenRequired),
		LogFormat:     p.oneOf("LOG_FORMAT", "text", "json"),
		Listen:        p.listen("LISTEN"),
	}
	level, err := logrus.ParseLevel(v["LOG_LEVEL"])
	if err != nil {
		p.bad("LOG_LEVEL", v["LOG_LEVEL"], "error, warn, info, debug or trace")
		level = logrus.InfoLevel
	}
	s.LogLevel = level
	if raw, err := hex.DecodeString(s.HostID); s.HostID != "" && (err != nil || len(raw) != 8 || strings.ToLower(s.HostID) != s.HostID) {
		p.bad("HOST_ID", s.HostID, "16 lower-case hex digits")
	}
	if (s.EtcdCert == "") != (s.EtcdKey == "") {
		p.errs = append(p.errs, errors.New("ETCD_CERT and ETCD_KEY go together: set both or neither"))
	}
	if len(s.Etcd) == 0 && (s.EtcdCA != "" || s.EtcdCert != "") {
		p.errs = append(p.errs, errors.New("ETCD_CA, ETCD_CERT and ETCD_KEY are for a cluster named by ETCD, which is empty"))
	}
	for _, pool := range s.Pools {
		if pool.Overlaps(s.Routers) {
			p.errs = append(p.errs, fmt.Errorf("ROUTERS %s overlaps with %s of POOLS: router addresses never come from a pool", s.Routers, pool))
		}
	}
	s.PPK, s.PPKOld = p.secret("PPK"), p.secret("PPK_OLD", None)
	if s.PPK.Text == "" && s.PPKOld.Text == None {
		p.errs = append(p.errs, errors.New("setting PPK_OLD=none is for hosts with a PPK: set PPK, or leave both empty"))
	}
	return s, errors.Join(p.errs...)
}

type parser struct {
	v    Values
	errs []error
}

func (p *parser) bad(name, value, allowed string) {
	p.errs = append(p.errs, fmt.Errorf("setting %s=%q: want %s", name, value, allowed))
}

func (p *parser) match(name string, re *regexp.Regexp, allowed string) string {
	if !re.MatchString(p.v[name]) {
		p.bad(name, p.v[name], allowed)
	}
	return p.v[name]
}

func (p *parser) oneOf(name string, allowed ...string) string {
	if !slices.Contains(allowed, p.v[name]) {
		p.bad(name, p.v[name], strings.Join(allowed, " or "))
	}
	return p.v[name]
}

func (p *parser) duration(name string, least time.Duration) time.Duration {
	d, err := time.ParseDuration(p.v[name])
	if err != nil || d < least {
		p.bad(name, p.v[name], fmt.Sprintf("a duration such as 24h, %s at least", least))
	}
	return d
}

func (p *parser) port(name string) int {
	n, err := strconv.Atoi(p.v[name])
	if err != nil || n < 1 || n > 65535 {
		p.bad(name, p.v[name], "a port from 1 to 65535")
	}
	return n
}

// members reads how many members etcd is to have. An even number would survive no more losses than the odd one below.
func (p *parser) members(name string) int {
	n, err := strconv.Atoi(p.v[name])
	if err != nil || n != 1 && n != 3 && n != 5 {
		p.bad(name, p.v[name], "1, 3 or 5")
	}
	return n
}

func (p *parser) prefix(name, value string, shortest, longest int) netip.Prefix {
	pre, err := netip.ParsePrefix(strings.TrimSpace(value))
	if err != nil || !pre.Addr().Is4() || pre != pre.Masked() || pre.Bits() < shortest || pre.Bits() > longest {
		p.bad(name, value, fmt.Sprintf("an IPv4 prefix from /%d to /%d without host bits, such as 10.42.0.0/16", shortest, longest))
	}
	return pre
}

func (p *parser) pools(name string) []netip.Prefix {
	var pools []netip.Prefix
	for s := range strings.SplitSeq(p.v[name], ",") {
		pool := p.prefix(name, s, 8, 28)
		for _, other := range pools {
			if other.Overlaps(pool) {
				p.bad(name, p.v[name], fmt.Sprintf("pools that do not overlap, but %s and %s do", other, pool))
			}
		}
		pools = append(pools, pool)
	}
	return pools
}

func (p *parser) endpoints(name string) []string {
	if p.v[name] == "" {
		return nil
	}
	var eps []string
	for s := range strings.SplitSeq(p.v[name], ",") {
		s = strings.TrimSpace(s)
		host := strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
		if _, _, err := net.SplitHostPort(host); err != nil {
			p.bad(name, s, "https://host:port, comma-separated")
		}
		eps = append(eps, s)
	}
	return eps
}

func (p *parser) listen(name string) string {
	value := p.v[name]
	if value == "" || value == Off {
		return ""
	}
	if _, err := netip.ParseAddrPort(value); err != nil {
		p.bad(name, value, "address:port such as 127.0.0.1:9450, or off")
	}
	return value
}
