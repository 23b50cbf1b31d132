package ipam

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/meshsec/meshsec/internal/teststore"
	"github.com/meshsec/meshsec/store"
)

func TestCase11ParallelRequestsGetDistinctAddresses(t *testing.T) {
	e := teststore.New(t)
	hosts := []*rig{newRig(t, e, "one"), newRig(t, e, "two")}
	var mu sync.Mutex
	got := map[netip.Addr]string{}
	var group sync.WaitGroup
	for _, r := range hosts {
		r.budget = 30 * time.Second // 40 blocks are claimed one after another
		r.Wait("the network", func() bool { return r == hosts[0] || len(r.Store.Snapshot().Networks) == 1 })
		id := r.network("10.50.0.0/24", "") // blocks of /30, so that they run out again and again
		for range 60 {
			group.Go(func() {
				addr, err := r.address(id, "")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if other, twice := got[addr.Addr()]; twice {
					t.Errorf("%v was given away twice, by %s and %s", addr, other, r.ID)
				}
				got[addr.Addr()] = r.ID
			})
		}
	}
	group.Wait()
	if len(got) != 120 {
		t.Errorf("%d addresses", len(got))
	}
	for addr := range got {
		if reserved(hosts[0].Local().Pools["MeshsecLocal/10.50.0.0-24/10.50.0.0/24"].Fact, addr) != "" {
			t.Errorf("%v was given away", addr)
		}
	}
}

func TestCase8ExhaustionAndReuse(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	id := r.network("10.50.0.0/28", "")
	var all []netip.Addr
	for {
		got, err := r.address(id, "")
		if err != nil {
			refused(t, err, "no free address left", "10.50.0.0/28")
			break
		}
		all = append(all, got.Addr())
	}
	if len(all) != 13 { // sixteen without network, broadcast and gateway: the static range serves when all blocks are taken
		t.Errorf("%d addresses: %v", len(all), all)
	}
	n := r.Local().Pools[id].Fact
	for _, addr := range all[:11] {
		if _, dynamic := blockOf(n, addr); !dynamic {
			t.Errorf("static %v came before the dynamic range was used up", addr)
		}
	}
	r.release(id, all[3])
	r.clock.Advance(time.Second)
	r.release(id, all[7])
	if got := r.mustAddress(id, ""); got != all[3] {
		t.Errorf("with nothing else free, got %v and not %v, which has rested longest", got, all[3])
	}
	if got := r.mustAddress(id, ""); got != all[7] {
		t.Errorf("got %v, not %v", got, all[7])
	}
}

func TestFreedAddressesRest(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	id := r.network("10.50.0.0/24", "")
	first, second := r.mustAddress(id, ""), r.mustAddress(id, "")
	r.release(id, first)
	r.clock.Advance(10 * time.Second)
	r.release(id, second)
	for range 20 {
		if got := r.mustAddress(id, ""); got == first || got == second {
			t.Fatalf("%v did not rest", got)
		}
	}
	fresh := func() int { // never used addresses of the own blocks
		n, l := 0, r.Local()
		for addr := range addresses(l.Pools[id], r.ipam.own(l, l.Pools[id])) {
			if _, known := l.Leases[key(l.Pools[id], addr)]; !known {
				n++
			}
		}
		return n
	}
	for fresh() > 0 {
		r.mustAddress(id, "")
	}
	r.clock.Advance(rest)
	if got := r.mustAddress(id, ""); got != first {
		t.Errorf("got %v, not %v, which was free for longest", got, first)
	}
	if got := r.mustAddress(id, ""); got != second {
		t.Errorf("got %v, not %v", got, second)
	}
}

// 29 names the container: it gets its address back, also right after it gave it up and after a restart of the agent.
func TestAContainerGetsItsLastAddressBack(t *testing.T) {
	r := newRig(t, teststore.New(t), "one")
	id := r.network("", "")
	web := r.mustAddress(id, "", endpointName, "web")
	db := r.mustAddress(id, "", endpointName, "db")
	for range 3 {
		r.release(id, web)
		r.release(id, db)
		r.restart()
		if got := r.mustAddress(id, "", endpointName, "db"); got != db {
			t.Errorf("db had %v and got %v", db, got)
		}
		if got := r.mustAddress(id, "", endpointName, "web"); got != web {
			t.Errorf("web had %v and got %v", web, got)
		}
	}
	r.release(id, web)
	r.mustAddress(id, web.String()) // somebody asked for it
	if got := r.mustAddress(id, "", endpointName, "web"); got == web {
		t.Error("an address in use was given back")
	}
}

func TestAnIPRangeBoundsThisHostOnly(t *testing.T) {
	e := teststore.New(t)
	one, two := newRig(t, e, "one"), newRig(t, e, "two")
	// The creator's range is the network's dynamic range.
	id := one.network("10.50.0.0/16", "10.50.3.0/24")
	for range 40 {
		if got := one.mustAddress(id, ""); !p("10.50.3.0/24").Contains(got) {
			t.Fatalf("got %v", got)
		}
	}
	two.Wait("the network", func() bool { return len(two.Store.Snapshot().Networks) == 1 })
	// Another host's range lies outside, so its addresses are claimed one by one.
	id = two.network("10.50.0.0/16", "10.50.4.0/30")
	for range 4 {
		if got := two.mustAddress(id, ""); !p("10.50.4.0/30").Contains(got) {
			t.Fatalf("got %v", got)
		}
	}
	_, err := two.address(id, "")
	refused(t, err, "--ip-range 10.50.4.0/30")
	if l := two.Local(); len(l.Statics) != 4 || len(l.Blocks) != 0 {
		t.Errorf("claims: %v, %v", l.Statics, l.Blocks)
	}
	one.sees(two)
	_, err = one.address("MeshsecLocal/10.50.0.0-16/10.50.0.0/16/10.50.3.0/24", "10.50.4.1")
	refused(t, err, "taken by host two")
}

func TestARangeWithinABlock(t *testing.T) {
	e := teststore.New(t)
	one, two := newRig(t, e, "one"), newRig(t, e, "two")
	one.network("", "")
	two.Wait("the network", func() bool { return len(two.Store.Snapshot().Networks) == 1 })
	id := two.network("10.42.0.0/16", "10.42.100.64/30")
	for range 4 {
		if got := two.mustAddress(id, ""); !p("10.42.100.64/30").Contains(got) {
			t.Fatalf("got %v", got)
		}
	}
	_, err := two.address(id, "")
	refused(t, err, "--ip-range 10.42.100.64/30")
	two.mustAddress(id, "10.42.100.70") // --ip may be anywhere in the pool
}

func TestEtcdAway(t *testing.T) {
	e := teststore.New(t)
	r := newRig(t, e, "one")
	id := r.network("10.50.0.0/24", "")
	first := r.mustAddress(id, "")
	e.StopEtcd()
	r.Wait("the store to notice", func() bool { ok, _ := r.Store.Healthy(); return !ok })
	r.restart()
	own := []netip.Addr{first}
	for range 3 { // what is left of the block
		own = append(own, r.mustAddress(id, ""))
	}
	_, err := r.address(id, "")
	refused(t, err, "etcd", "127.0.0.1")
	_, err = r.address(id, "10.50.0.9")
	refused(t, err, "10.50.0.9", "127.0.0.1")
	foreign := "10.50.0.250" // of a block that is not its own, whichever that is
	if first.Compare(netip.MustParseAddr("10.50.0.240")) > 0 {
		foreign = "10.50.0.130"
	}
	_, err = r.address(id, foreign)
	refused(t, err, "127.0.0.1")
	for _, addr := range own { // containers stop and start, also sooner than an address should rest
		r.release(id, addr)
		if got := r.mustAddress(id, ""); got != addr {
			t.Errorf("got %v, not %v", got, addr)
		}
		r.release(id, addr)
		if got := r.mustAddress(id, addr.String()); got != addr {
			t.Errorf("got %v, not %v", got, addr)
		}
	}
}

func TestBlocksAreFetchedAheadOfNeed(t *testing.T) {
	e := teststore.New(t)
	r := newRig(t, e, "one")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.ipam.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	id := r.network("", "")
	r.Wait("the first block, before any container", func() bool { return len(r.Local().Blocks) == 1 })
	for range 48 {
		r.mustAddress(id, "")
	}
	if n := len(r.Local().Blocks); n != 1 {
		t.Errorf("%d blocks with a quarter of one free", n)
	}
	r.mustAddress(id, "")
	r.Wait("the next block", func() bool { return len(r.Local().Blocks) == 2 })
	if n := len(r.Local().Leases); n != 50 {
		t.Errorf("%d leases", n)
	}
	// A small network's blocks are left to other hosts.
	small := r.network("10.50.0.0/28", "")
	r.Wait("the first block", func() bool { return len(r.Local().Blocks) == 3 })
	r.mustAddress(small, "")
	r.Wait("one more, since two remain for one host", func() bool { return len(r.Local().Blocks) == 4 })
	for range 4 {
		r.mustAddress(small, "")
	}
	if n := len(r.Local().Blocks); n != 4 {
		t.Errorf("the last block was taken ahead of need: %d", n)
	}
}

func TestClaimsThatAnotherHostHasTaken(t *testing.T) {
	e := teststore.New(t)
	one, two := newRig(t, e, "one"), newRig(t, e, "two")
	id := one.network("", "")
	two.Wait("the network", func() bool { return len(two.Store.Snapshot().Networks) == 1 })
	two.network("", "")
	// Both begin their search at the same block: the slower one takes the next.
	first := store.BlockKey{Network: "default"}
	for block := range blocks(one.Local().Pools[id].Fact, one.ipam.skip()) {
		first.Prefix = block
		break
	}
	if owner, err := two.Store.ClaimBlock(context.Background(), first); err != nil || owner != two.ID {
		t.Fatal(owner, err)
	}
	if got := one.mustAddress(id, ""); first.Prefix.Contains(got) {
		t.Errorf("got %v of the other host's block", got)
	}
}
