package ipam

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// history is what Docker on all hosts has seen: which container had which address from when to when. An operation that failed is
// not in it, for no container came of it.
type history struct {
	start time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

// event is the input of an operation: a container gets an address, or has let it go.
type event struct {
	addr      netip.Addr
	container int // from 1
	host      string
	gets      bool
}

func (e event) String() string {
	word := "lets go of"
	if e.gets {
		word = "gets"
	}
	return fmt.Sprintf("container %d of %s %s %v", e.container, e.host, word, e.addr)
}

// endless is the return of an operation of which nobody knows when it took effect.
const endless = math.MaxInt64

// now is a time of the history.
func (h *history) now() int64 { return int64(time.Since(h.start)) }

// note adds an operation that was called at a time and has returned at another.
func (h *history) note(e event, called, returned int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{Input: e, Call: called, Return: max(called, returned)})
}

func (h *history) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// oneHolder is the promise: of each address there is an order of the operations, true to the times at which they were called and
// returned, in which it is got only while nobody has it, and let go only by who has it.
var oneHolder = porcupine.Model{
	Partition: byAddress,
	Init:      func() any { return 0 },
	Step: func(state, input, _ any) (bool, any) {
		holder, e := state.(int), input.(event)
		if e.gets {
			return holder == 0, e.container
		}
		return holder == e.container, 0
	},
	DescribeOperation: func(input, _ any) string { return input.(event).String() },
}

func byAddress(ops []porcupine.Operation) [][]porcupine.Operation {
	parts := map[netip.Addr][]porcupine.Operation{}
	for _, op := range ops {
		addr := op.Input.(event).addr
		parts[addr] = append(parts[addr], op)
	}
	lists := make([][]porcupine.Operation, 0, len(parts))
	for _, part := range parts {
		lists = append(lists, part)
	}
	return lists
}

// doubled returns the accounts of the addresses that two have held, the last operations of each.
func (h *history) doubled() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var bad []string
	for _, part := range byAddress(h.ops) {
		if porcupine.CheckOperations(oneHolder, part) {
			continue
		}
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		n := 1
		for n < len(part) && porcupine.CheckOperations(oneHolder, part[:n]) {
			n++
		}
		var lines strings.Builder
		for _, op := range part[max(0, n-6):min(n+6, len(part))] {
			fmt.Fprintf(&lines, "\n  %12v to %12v: %v", time.Duration(op.Call), time.Duration(op.Return), op.Input)
		}
		bad = append(bad, lines.String())
	}
	return bad
}

// The checker is only worth what it refuses.
func TestHistoryChecker(t *testing.T) {
	addr, other := netip.MustParseAddr("10.50.0.2"), netip.MustParseAddr("10.50.0.3")
	type op struct {
		container  int
		gets       bool
		addr       netip.Addr
		from, till int64
	}
	for what, c := range map[string]struct {
		ops  []op
		good bool
	}{
		"one after the other":       {[]op{{1, true, addr, 0, 1}, {1, false, addr, 2, 3}, {2, true, addr, 4, 5}}, true},
		"got while it is let go":    {[]op{{1, true, addr, 0, 1}, {1, false, addr, 2, 6}, {2, true, addr, 4, 5}}, true},
		"let go some time or never": {[]op{{1, true, addr, 0, 1}, {1, false, addr, 2, endless}, {2, true, addr, 4, 5}}, true},
		"two addresses":             {[]op{{1, true, addr, 0, 1}, {2, true, other, 0, 1}}, true},
		"two have it":               {[]op{{1, true, addr, 0, 1}, {2, true, addr, 4, 5}}, false},
		"two at once":               {[]op{{1, true, addr, 0, 9}, {2, true, addr, 0, 9}}, false},
		"let go too late":           {[]op{{1, true, addr, 0, 1}, {2, true, addr, 2, 3}, {1, false, addr, 4, 5}}, false},
		"let go before its grace":   {[]op{{1, true, addr, 0, 1}, {2, true, addr, 2, 3}, {1, false, addr, 4, endless}}, false},
		"let go by another":         {[]op{{1, true, addr, 0, 1}, {2, false, addr, 2, 3}}, false},
	} {
		h := &history{start: time.Now()}
		for _, o := range c.ops {
			h.note(event{o.addr, o.container, "one", o.gets}, o.from, o.till)
		}
		if bad := h.doubled(); (len(bad) == 0) != c.good {
			t.Errorf("%s: %v", what, bad)
		}
	}
}
