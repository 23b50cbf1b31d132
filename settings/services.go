package settings

import (
	"regexp"
	"slices"
	"strings"
)

// What a host may serve its containers.
const (
	DNS      = "dns"
	Metadata = "metadata"
)

// What METADATA_TOKEN may be.
const (
	TokenOptional = "optional"
	TokenRequired = "required"
)

// Serves tells whether this host serves its containers that.
func (s Settings) Serves(service string) bool { return slices.Contains(s.Services, service) }

// someOf reads a list of words, or none of them.
func (p *parser) someOf(name string, allowed ...string) []string {
	if p.v[name] == Off || p.v[name] == "" {
		return nil
	}
	var list []string
	for word := range strings.SplitSeq(p.v[name], ",") {
		word = strings.TrimSpace(word)
		if !slices.Contains(allowed, word) || slices.Contains(list, word) {
			p.bad(name, p.v[name], strings.Join(allowed, ", ")+", comma-separated, or off")
			return nil
		}
		list = append(list, word)
	}
	return list
}

// domainName is a domain of at least two labels (RFC 1123, section 2.1), so that it is no container's name.
var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (p *parser) domain(name string) string {
	domain := strings.TrimSuffix(strings.ToLower(p.v[name]), ".")
	if !domainName.MatchString(domain) || len(domain) > 60 {
		p.bad(name, p.v[name], "a domain of two labels or more and 60 characters at most, such as meshsec.internal")
	}
	return domain
}
