package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrFounded says that the environment has another authority already: this host can't found it.
var ErrFounded = errors.New("environment exists already")

// Found makes ca (PEM) the environment's authority in etcd. That it is already is no error; ErrFounded if another one is.
func (s *Store) Found(ctx context.Context, ca []byte) error {
	der, err := CertDER(ca)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	value, err := json.Marshal(authority{V: Version, Cert: der})
	if err != nil {
		return err
	}
	full := s.key(factKey{kind: kindCA})
	r, err := s.commit(ctx, []clientv3.Cmp{absent(full)}, []clientv3.Op{clientv3.OpPut(full, string(value))}, []clientv3.Op{clientv3.OpGet(full)})
	if err != nil {
		return err
	}
	if r.Succeeded {
		s.Refresh()
		return nil
	}
	if kv := first(r, 0); kv != nil && sameAuthority(kv.Value, der) {
		return nil
	}
	return fmt.Errorf("%w: environment %q in etcd at %s: set JOIN to a token from `meshsec token` on one of its hosts",
		ErrFounded, s.cfg.Environment, strings.Join(s.cfg.Endpoints, ", "))
}

// Verify checks that the environment's authority in etcd is ca (PEM), that of this host's token.
func (s *Store) Verify(ctx context.Context, ca []byte) error {
	der, err := CertDER(ca)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	r, err := s.get(ctx, s.key(factKey{kind: kindCA}))
	if err != nil {
		return err
	}
	where := strings.Join(s.cfg.Endpoints, ", ")
	switch {
	case len(r.Kvs) == 0:
		return fmt.Errorf("etcd at %s holds no environment %q: does ETCD or the token name the right one?", where, s.cfg.Environment)
	case !sameAuthority(r.Kvs[0].Value, der):
		return fmt.Errorf("environment %q in etcd at %s has another certificate authority than the token: "+
			"set JOIN to a token from `meshsec token` on one of its hosts", s.cfg.Environment, where)
	}
	return nil
}

func sameAuthority(value, der []byte) bool {
	fact, err := decodeValue(factKey{kind: kindCA}, value)
	return err == nil && bytes.Equal(fact.(authority).Cert, der)
}
