package plugin

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// stride is how many calls lie between two crashes of one pass of TestReplayCrash.
const stride = 5

// idle are the calls that change nothing: a crash after one of them is a crash before it.
var idle = []string{"GetCapabilities", "GetDefaultAddressSpaces", "Activate", "EndpointOperInfo", "ProgramExternalConnectivity",
	"RevokeExternalConnectivity", "DiscoverNew", "DiscoverDelete", "GwAllocCheck"}

// TestReplayCrash plays the traces with the plugin killed between any two calls: in one pass after every call, which is made
// again then, as by somebody who has got no answer; in further passes after every fifth only, each beginning one call later, so
// that what the plugin knows without its disk is lost at every point, too. In the end nothing is left.
func TestReplayCrash(t *testing.T) {
	names := traces(t)
	if testing.Short() {
		names = []string{"20-legacy-join", "29-legacy-run"}
	}
	var all []replay
	for _, trace := range names {
		all = append(all, replay{trace, "each", func(_ int, method string) manner {
			return manner{again: true, crash: changes(method)}
		}})
		for first := range stride {
			all = append(all, replay{trace, fmt.Sprint(first), func(n int, method string) manner {
				return manner{crash: n%stride == first && changes(method)}
			}})
		}
	}
	playAll(t, all)
}

// changes says that a call may change something.
func changes(method string) bool {
	_, call, _ := strings.Cut(method, ".")
	return !slices.Contains(idle, call)
}
