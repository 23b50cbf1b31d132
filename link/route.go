package link

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Route is a route into a tunnel.
type Route struct {
	Dst netip.Prefix
	Dev string
	Src netip.Addr // preferred source: the router address
	MTU int        // 0: the device's
}

// SetRoutes makes these the routes of protocol RouteProtocol in the router's main table. Other routes are not touched,
// not even to the same destination. What is added comes before what is deleted. It is an error, for these routes only,
// if their device is missing or down.
func (r *Router) SetRoutes(want []Route) error {
	links, err := list(r.nl.LinkList)
	if err != nil {
		return fmt.Errorf("list router links: %w", err)
	}
	devs := map[string]int{}
	for _, l := range links {
		devs[l.Attrs().Name] = l.Attrs().Index
	}
	rows, err := routeRows(want, devs)
	return errors.Join(err, r.routes.set(rows))
}

// ChangeRoutes adds some to the routes of protocol RouteProtocol, or changes them, and then deletes others, which need not be
// there. It leaves all the rest and lists nothing, which counts when there are many routes and one is new, or when a thousand
// devices are made one after the other. It is an error, for these routes only, if the device of one to be added is missing.
func (r *Router) ChangeRoutes(add, del []Route) error {
	devs := map[string]int{}
	for _, w := range slices.Concat(add, del) {
		if _, known := devs[w.Dev]; known {
			continue
		}
		l, err := find(r.nl, w.Dev)
		if err != nil {
			return err
		}
		if l != nil {
			devs[w.Dev] = l.Attrs().Index
		}
	}
	rows, err := routeRows(add, devs)
	changes := rowChanges(rows, false)
	gone, _ := routeRows(del, devs) // with their device they are gone themselves
	return errors.Join(err, r.routes.change(append(changes, rowChanges(gone, true)...)))
}

// routeRows gives the rows of those that can be.
func routeRows(want []Route, devs map[string]int) (map[netip.Prefix]routeRow, error) {
	var errs []error
	missing := map[string]int{}
	rows := make(map[netip.Prefix]routeRow, len(want))
	for _, w := range want {
		switch dev, ok := devs[w.Dev]; {
		case !w.Dst.Addr().Is4() || w.Src.IsValid() && !w.Src.Is4():
			errs = append(errs, fmt.Errorf("route %s: not IPv4", w.Dst))
		case !ok:
			missing[w.Dev]++
		default:
			rows[w.Dst.Masked()] = routeRow{dev: uint32(dev), src: w.Src, mtu: uint32(w.MTU)}
		}
	}
	for dev, n := range missing {
		errs = append(errs, fmt.Errorf("routes to %s (%d): no such link", dev, n))
	}
	return rows, errors.Join(errs...)
}

// routeRow is what a destination of ours maps to; comparable.
type routeRow struct {
	dev uint32
	src netip.Addr
	mtu uint32
}

const (
	// routeBatch is the number of messages in one send: 7 times as fast as one by one, and no faster with more.
	routeBatch = 256
	// routeErrors bounds how many failed routes an error names.
	routeErrors = 5
)

// routeTable is the part of the main table that bears our protocol number.
type routeTable struct {
	ns netns.NsHandle
	mu sync.Mutex
	// s is open from the first use on, for opening one takes longer than to set a route. One that has lost an answer is not used again.
	s *socket
}

// use runs fn with the socket, one at a time.
func (t *routeTable) use(fn func(*socket) error) (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.s == nil {
		if t.s, err = openSocket(t.ns, unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("routes: %w", err)
		}
	}
	if err = fn(t.s); err != nil {
		err = errors.Join(err, t.closeSocket())
	}
	return err
}

// close frees the socket.
func (t *routeTable) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closeSocket()
}

func (t *routeTable) closeSocket() (err error) {
	if t.s != nil {
		err, t.s = t.s.close(), nil
	}
	return err
}

// set makes the kernel's list equal to want.
func (t *routeTable) set(want map[netip.Prefix]routeRow) error {
	return t.use(func(s *socket) error {
		have, err := listRoutes(s)
		if err != nil {
			return fmt.Errorf("list routes: %w", err)
		}
		add, del := map[netip.Prefix]routeRow{}, map[netip.Prefix]routeRow{}
		for dst, row := range want {
			if old, ok := have[dst]; !ok || old != row {
				add[dst] = row
			}
		}
		for dst, row := range have {
			if _, ok := want[dst]; !ok {
				del[dst] = row
			}
		}
		return apply(s, append(rowChanges(add, false), rowChanges(del, true)...))
	})
}

// change carries changes out without looking at what is there.
func (t *routeTable) change(changes []routeChange) error {
	if len(changes) == 0 {
		return nil
	}
	return t.use(func(s *socket) error { return apply(s, changes) })
}

// rowChanges gives the changes that add or delete rows, by address.
func rowChanges(rows map[netip.Prefix]routeRow, del bool) []routeChange {
	changes := make([]routeChange, 0, len(rows))
	for dst, row := range rows {
		changes = append(changes, routeChange{dst, row, del})
	}
	slices.SortFunc(changes, func(a, b routeChange) int {
		return cmp.Or(a.dst.Addr().Compare(b.dst.Addr()), cmp.Compare(a.dst.Bits(), b.dst.Bits()))
	})
	return changes
}

// routeChange is one message of a batch.
type routeChange struct {
	dst netip.Prefix
	row routeRow
	del bool
}

func (c routeChange) String() string {
	if c.del {
		return "delete route " + c.dst.String()
	}
	return "route " + c.dst.String()
}

func apply(s *socket, changes []routeChange) error {
	var errs []error
	failed := 0
	for part := range slices.Chunk(changes, routeBatch) {
		msgs := make([]message, len(part))
		for i, c := range part {
			msgs[i] = c.message()
		}
		err := s.batch(msgs, func(i int, err error) {
			if part[i].del && errors.Is(err, unix.ESRCH) {
				return // gone by itself
			}
			if failed++; failed <= routeErrors {
				errs = append(errs, fmt.Errorf("%s: %w", part[i], err))
			}
		})
		if err != nil {
			// What of this part is done will be seen in the next list.
			errs = append(errs, fmt.Errorf("%d routes from %s: %w", len(part), part[0].dst, err))
		}
	}
	if failed > routeErrors {
		errs = append(errs, fmt.Errorf("and %d more routes", failed-routeErrors))
	}
	return errors.Join(errs...)
}
