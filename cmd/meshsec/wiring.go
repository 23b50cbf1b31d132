package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/driver"
	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/ipam"
	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/handshake"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/mesh"
	"github.com/meshsec/meshsec/settings"
)

// openMesh ties the handshake, the reconciler and the probes together: each needs the others.
func (n *node) openMesh(ppks []handshake.Secret) error {
	ping, err := n.router.NewPinger(n.id.Router)
	if err != nil {
		return err
	}
	n.closers = append(n.closers, ping.Close)
	n.prober = &prober{ping: ping, snap: n.store.Snapshot, ready: n.keyed, self: n.id.HostID, limit: n.meshOptions().PeerMTU, changed: func() { n.mesh.Kick() },
		log: n.log, start: time.Now(), peers: map[string]*probed{}}

	m, err := handshake.NewMachine(handshake.Identity{HostID: n.id.HostID, Environment: n.id.Environment,
		Private: handshake.Secret{Bytes: [32]byte(n.id.Private.Bytes)}, PPKs: ppks}, rand.Reader,
		handshake.Options{Ciphers: n.ciphers, Start: time.Now(), Local: n.local()})
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	// The answer to an init promises that its sender's packets can be opened, so the data plane is set before it goes out.
	install := func() error { return n.mesh.Rekey(context.Background()) }
	n.handshake = handshake.NewLoop(m, n.socket.SendHandshake, install, n.log)
	n.handshake.OnNeedSnapshot(n.store.Refresh)
	n.handshake.OnProbe(n.prober.probe)
	n.handshake.OnKeepalive(n.socket.SendKeepalive)
	n.prober.silent = func(peer string) { n.handshake.Event(ipsec.Event{Kind: ipsec.PeerSilent, Peer: peer}) }
	n.socket.HandleHandshake(n.handshake.Deliver)

	o := n.meshOptions()
	o.PathMTU = n.prober.mtu
	o.Lost = n.lost
	n.mesh = mesh.New(o, mesh.Times{}, n.store, n.checkpoint, n.router, keys{n.handshake}, n.plane, n.log)
	return nil
}

// meshOptions are what is known of this host once its underlay address has been found.
func (n *node) meshOptions() mesh.Options {
	return mesh.Options{Self: n.id.HostID, UnderlayMTU: n.underlayMTU, V6: n.addrs[0].Is6(), Encap: ipsec.Encap(n.set.Encap), Routers: n.set.Routers}
}

// local gives the addresses that peers see this host at if there is no NAT between.
func (n *node) local() []netip.AddrPort {
	list := make([]netip.AddrPort, len(n.addrs))
	for i, a := range n.addrs {
		list[i] = netip.AddrPortFrom(a.Unmap(), uint16(n.set.Port))
	}
	return list
}

// keyed gives the peers that can be sent to.
func (n *node) keyed() map[string]bool {
	ready := map[string]bool{}
	for id, set := range n.handshake.SAs() {
		ready[id] = set.Out != nil
	}
	return ready
}

// keys shows the handshake to the mesh, in the mesh's words.
type keys struct{ loop *handshake.Loop }

func (k keys) SAs() map[string]ipsec.SASet { return k.loop.SAs() }

func (k keys) SetPeers(peers []mesh.Peer) {
	list := make([]handshake.Peer, len(peers))
	for i, p := range peers {
		list[i] = handshake.Peer{HostID: p.ID, Public: p.Key, Remote: p.Remote, Addrs: p.Addrs, Seen: p.Seen, Near: p.Near}
	}
	k.loop.SetPeers(list)
}

// openDrivers makes what answers Docker's calls, and publishes this host.
func (n *node) openDrivers(p paths) error {
	n.driver = driver.New(n.store, n.checkpoint, n.router, driver.Options{
		MTU:     func() int { return n.mtu },
		Docker:  engine.New(p.docker()),
		Sandbox: n.sandbox(p),
		Log:     n.log,
	})
	n.ipam = ipam.New(n.store, n.checkpoint, ipam.Options{Pools: n.set.Pools, Overlap: link.HostOverlap, Starting: n.driver.Starting,
		Abandoned: n.driver.Abandoned, Restore: n.driver.Restore, Managed: n.set.Scope == settings.GlobalScope, Log: n.log})
	fact, err := n.hostFact()
	if err != nil {
		return err
	}
	n.fact = fact
	n.store.SetHost(fact)
	return nil
}
