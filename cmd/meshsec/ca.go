package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/store"
)

// authority is the environment's, with its key: from this host, or from a file that the operator has given for this once (PEM).
func (n *node) authority(bundle string) (store.CA, error) {
	id := n.checkpoint.Local().Identity
	if bundle == "" {
		return id.Authority()
	}
	return id.With(store.Secret{Bytes: []byte(bundle)})
}

func (n *node) exportAuthority() (string, error) {
	ca, err := n.authority("")
	if err != nil {
		return "", err
	}
	return string(ca.Bundle().Bytes), nil
}

func (n *node) authorityExported(remove bool) error {
	if remove {
		return n.checkpoint.RemoveAuthority()
	}
	return n.checkpoint.Update(func(l *store.Local) error {
		l.Identity.Exported = time.Now().UTC()
		return nil
	})
}

func (n *node) addAuthority(bundle string) error {
	ca, err := store.ParseBundle(n.id.Environment, store.Secret{Bytes: []byte(bundle)})
	if err != nil {
		return err
	}
	return n.checkpoint.AddAuthority(ca)
}

func (n *node) replaceAuthority(ctx context.Context, bundle string) error {
	ca, err := n.authority(bundle)
	if err != nil {
		return err
	}
	if n.members != nil && !n.members.Here() {
		return errors.New("this host runs no member of the embedded etcd, whose server needs a certificate of the new authority: do it on one that does, see meshsec status")
	}
	return n.store.ReplaceAuthority(ctx, ca)
}

func (n *node) retireAuthority(ctx context.Context, bundle string, force bool) error {
	ca, err := n.authority(bundle)
	if err != nil {
		return err
	}
	return n.store.RetireAuthority(ctx, ca, force)
}

func (n *node) renewCertificates(ctx context.Context, bundle string) (string, error) {
	ca, err := n.authority(bundle)
	if err != nil {
		return "", err
	}
	count, err := n.store.RenewAll(ctx, ca)
	return fmt.Sprint(count), err
}

// token issues an identity for a further host, or a new certificate and key for one that is known.
func (n *node) token(want control.Token) (string, error) {
	ca, err := n.authority(want.CA)
	if err != nil {
		return "", err
	}
	var endpoints []string
	if len(n.set.Etcd) == 0 { // else the new host is told by its settings, as this one was
		endpoints = n.clientURLs()
		for _, f := range n.forwards { // in case that etcd's port is forwarded as well
			endpoints = append(endpoints, "https://"+netip.AddrPortFrom(f.Addr(), uint16(n.set.EtcdPort)).String())
		}
	}
	id := store.NewHostID()
	if want.Host != "" {
		if id, err = n.hostID(want.Host); err != nil {
			return "", err
		}
		if id == n.id.HostID {
			return "", errors.New("this host needs no token: a certificate is renewed by `meshsec ca renew`")
		}
		if _, out := n.store.Snapshot().Revoked[id]; out {
			return "", fmt.Errorf("host %s was removed from the environment: it can come back only as another one, without --for", want.Host)
		}
	}
	t, err := ca.NewTokenFor(id, endpoints, want.Name, want.TTL)
	if err != nil {
		return "", err
	}
	return t.Encode(), nil
}
