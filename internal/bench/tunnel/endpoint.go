package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/ipsec"
	"github.com/meshsec/meshsec/ipsec/tun"
	"github.com/meshsec/meshsec/ipsec/underlay"
	"github.com/meshsec/meshsec/link"
)

// endpoint is one end of a meshsec tunnel with fixed keys, until it gets a signal. Its router namespace is the one
// bound at -router; its socket is opened in the namespace that it is started in.
func endpoint(args []string) error {
	f := flag.NewFlagSet("endpoint", flag.ContinueOnError)
	router := f.String("router", "", "path of the router namespace")
	local := f.String("local", "", "underlay address and port")
	remote := f.String("remote", "", "the other end's")
	inner := f.String("inner", "", "router address")
	peer := f.String("peer", "", "the other end's")
	encap := f.String("encap", "udp", "udp or esp")
	if err := f.Parse(args); err != nil {
		return err
	}
	log := logrus.NewEntry(logrus.New())
	r, err := link.OpenRouter(*router)
	if err != nil {
		return err
	}
	defer r.Close()
	addr, err := netip.ParseAddr(*inner)
	if err != nil {
		return err
	}
	if err := r.SetAddr(addr); err != nil {
		return err
	}
	from, err := netip.ParseAddrPort(*local)
	if err != nil {
		return err
	}
	s, err := underlay.Listen(from, log)
	if err != nil {
		return err
	}
	defer s.Close()
	bare, err := underlay.OpenESP([]netip.Addr{from.Addr()}, log)
	if err != nil {
		return err
	}
	defer bare.Close()
	p, err := tun.Open(r, s, bare, log)
	if err != nil {
		return err
	}
	defer p.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, err := config(addr, *peer, *remote, ipsec.Encap(*encap))
	if err != nil {
		return err
	}
	if err := p.Set(ctx, c); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return bare.Run(ctx) })
	g.Go(func() error { return p.Run(ctx) })
	fmt.Println("ready")
	_ = g.Wait()
	return nil
}

// config is one peer; keys and SPIs are made of the addresses, so both ends find the same.
func config(self netip.Addr, peer, remote string, encap ipsec.Encap) (ipsec.Config, error) {
	other, err := netip.ParseAddr(peer)
	if err != nil {
		return ipsec.Config{}, err
	}
	to, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ipsec.Config{}, err
	}
	sa := func(a, b netip.Addr) ipsec.SA {
		x, y := a.As4(), b.As4()
		s := ipsec.SA{SPI: ipsec.SPI(0x1000 + int(y[3])), Cipher: ipsec.AES256GCM}
		copy(s.Key.Bytes[:], bytes.Repeat(append(x[:], y[:]...), ipsec.KeySize))
		return s
	}
	out := sa(self, other)
	return ipsec.Config{Router: self, MTU: ipsec.MTU(1500, false, ipsec.AES256GCM, encap), Peers: []ipsec.Peer{{
		Name: "peer", Remote: to, Encap: encap, Router: other,
		Prefixes: []netip.Prefix{netip.PrefixFrom(other, 32)},
		In:       []ipsec.SA{sa(other, self)}, Out: &out,
	}}}, nil
}
