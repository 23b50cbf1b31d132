package ipam

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/meshsec/meshsec/store"
)

var (
	historyOps  = flag.Int64("history.ops", 3000, "operations of TestAddressHistory")
	historyBack = flag.Bool("history.restore", false, "TestAddressHistory restores etcd from backups, too")
	historySeed = flag.Uint64("history.seed", 0, "seed of TestAddressHistory; 0: a random one")
)

// Invariant 3, for many hosts at once: containers come and go while agents are killed, partitioned and paused, clocks step, hosts are
// removed and join, and with -history.restore etcd is restored from backups. No address has two holders, and at the end nothing is held without reason.
func TestAddressHistory(t *testing.T) {
	ops, seed := *historyOps, *historySeed
	if testing.Short() {
		ops = min(ops, 500)
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-history.seed=%d", seed)
	f := newFleet(t, ops)
	dir := &director{Rand: rand.New(rand.NewPCG(seed, 0)), fleet: f}
	dir.admit(f.join("host0", f.env.Founder))
	for range 3 {
		dir.admit(f.join(dir.name(), f.env.WiredHost))
	}
	for bags := 0; f.left.Load() > 0 || !testing.Short() && bags == 0; {
		if dir.fault(); len(dir.bag) == 0 {
			bags++
		}
	}
	f.over.Store(true)
	for _, d := range dir.hosts {
		d.wire.Heal()
		d.work.Wait()
	}
	n, took := f.history.len(), time.Since(f.history.start)
	bad := f.history.doubled()
	for _, account := range bad {
		t.Errorf("an address was held twice:%s", account)
	}
	dir.noLeak()
	t.Logf("%d operations in %v on %d hosts, %d refused; faults: %v; %d doubled", n, took.Round(time.Second), dir.named+1, f.refused.Load(), dir.done, len(bad))
}

// director does the faults.
type director struct {
	*rand.Rand
	fleet  *fleet
	hosts  []*docker // the first one holds the authority
	named  int
	backup string
	bag    []string
	done   map[string]int
}

func (f *director) name() string {
	f.named++
	return fmt.Sprint("host", f.named)
}

func (f *director) admit(d *docker) {
	f.hosts = append(f.hosts, d)
	for range 2 {
		d.begin(rand.New(rand.NewPCG(f.Uint64(), 0)))
	}
}

// rests is a pause in which the hosts go on.
func (f *director) rests(most time.Duration) {
	for end := time.Now().Add(time.Duration(f.Int64N(int64(most)))); time.Now().Before(end); {
		<-time.After(5 * time.Millisecond)
	}
}

// fault does the next one of a bag with all of them, so that even a short run has each. Hosts come and go between a restore and the
// next backup: a backup does not know those that came since, nor that others went.
func (f *director) fault() {
	if len(f.bag) == 0 {
		f.bag = []string{"kill", "kill", "kill", "cut", "freeze", "forward", "back", "sweep"}
		f.Shuffle(len(f.bag), func(i, j int) { f.bag[i], f.bag[j] = f.bag[j], f.bag[i] })
		if *historyBack {
			f.back()
			f.bag = append(f.bag, "restore")
		}
		f.bag = append(f.bag, "remove")
	}
	what := f.bag[0]
	f.bag = f.bag[1:]
	if f.done == nil {
		f.done = map[string]int{}
	}
	f.done[what]++
	d := f.hosts[f.IntN(len(f.hosts))]
	switch what {
	case "kill":
		d.kill()
	case "cut":
		d.wire.Cut()
		f.rests(2 * time.Second)
		d.wire.Heal()
	case "freeze":
		d.wire.Freeze()
		f.rests(2 * time.Second)
		d.wire.Heal()
	case "forward":
		d.clock.Advance([]time.Duration{unconfirmed, time.Hour, memory, 365 * memory}[f.IntN(4)])
		f.sweep(d)
	case "back":
		d.clock.Advance(-[]time.Duration{unconfirmed, time.Hour, memory, 365 * memory}[f.IntN(4)])
	case "sweep":
		f.sweep(d)
	case "remove":
		f.remove(f.hosts[1+f.IntN(len(f.hosts)-1)])
	case "restore":
		f.restore()
	}
	f.rests(500 * time.Millisecond)
}

func (f *director) sweep(d *docker) {
	if err := d.agent.Load().ipam.sweep(); err != nil {
		f.fleet.t.Error(err)
	}
}

// remove takes a host out of the environment, as who does so promises: it is off. Another one comes in its place.
func (f *director) remove(d *docker) {
	d.mu.Lock()
	d.removed = true
	d.mu.Unlock()
	d.work.Wait()
	free := f.fleet.history.now() + int64(fleetRemove)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := f.hosts[0].Remove(ctx, d.ID); err != nil {
		f.fleet.t.Errorf("host rm: %v", err)
		return
	}
	for _, c := range d.live {
		f.fleet.history.note(event{c.addr, c.number, d.name, false}, free, endless)
	}
	d.close()
	d.Stop()
	f.hosts = slices.DeleteFunc(f.hosts, func(other *docker) bool { return other == d })
	f.settled("the addresses of host "+d.name+" to be free", freed)
	f.admit(f.fleet.join(f.name(), f.fleet.env.WiredHost))
}

// back makes a backup, and waits until each host has seen something newer: one that was away since before the backup could not know
// that a restored etcd has lost something.
func (f *director) back() {
	f.backup = f.fleet.env.Backup()
	since, newest := time.Now(), int64(0)
	f.settled("facts after the backup", func(snap *store.Snapshot) bool {
		newest = max(newest, snap.Revision)
		return snap.Taken.After(since)
	})
	f.settled("facts newer than the backup", func(snap *store.Snapshot) bool { return snap.Revision > newest })
}

// restore loses what is newer than the backup, until its owners have put it back.
func (f *director) restore() {
	f.fleet.env.Restore(f.backup)
	since := time.Now()
	f.settled("what was lost in the restored etcd", func(snap *store.Snapshot) bool { return snap.Taken.After(since) && !lost(snap) })
}

func (f *director) settled(what string, ok func(*store.Snapshot) bool) {
	for _, d := range f.hosts {
		good := false
		waitLong(f.fleet.t, func() bool { good = ok(d.Store.Snapshot()); return good })
		if !good {
			f.fleet.t.Fatalf("host %s waits in vain for %s", d.name, what)
		}
	}
}

// freed says that only hosts that are there have claims.
func freed(snap *store.Snapshot) bool {
	for _, c := range snap.Blocks {
		if _, ok := snap.Hosts[c.Host]; !ok {
			return false
		}
	}
	for _, c := range snap.Statics {
		if _, ok := snap.Hosts[c.Host]; !ok {
			return false
		}
	}
	return true
}

// lost says that a claim is known that etcd does not have.
func lost(snap *store.Snapshot) bool {
	for key := range snap.Bad {
		if strings.HasPrefix(key, "blocks/") || strings.HasPrefix(key, "static/") {
			return true
		}
	}
	return false
}
