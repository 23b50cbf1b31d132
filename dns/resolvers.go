package dns

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/meshsec/meshsec/link"
)

// rereadAfter is how long the list of resolvers is believed.
const rereadAfter = 5 * time.Second

// Resolvers reads the nameservers of the first of the files (resolv.conf(5)) that is there and names any, now and again
// every few seconds. This server's own address is none of them: asking it would be a loop.
func Resolvers(files ...string) func() []netip.AddrPort {
	var mu sync.Mutex
	var known []netip.AddrPort
	var at time.Time
	return func() []netip.AddrPort {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); at.IsZero() || now.Sub(at) > rereadAfter {
			known, at = readResolvers(files), now
		}
		return known
	}
}

func readResolvers(files []string) []netip.AddrPort {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a link into a file system that is not here
		}
		if list := parseResolvers(string(text)); len(list) > 0 {
			return list
		}
	}
	return nil
}

// parseResolvers gives the servers in the text of a resolv.conf, each once and in its order.
func parseResolvers(text string) (list []netip.AddrPort) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		addr, err := netip.ParseAddr(words[1])
		server := netip.AddrPortFrom(addr.Unmap(), 53)
		if err != nil || server.Addr() == link.ServiceAddr || slices.Contains(list, server) {
			continue
		}
		list = append(list, server)
	}
	return list
}
