package store

import (
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// ErrFull says that etcd has raised its alarm NOSPACE: it answers, but takes nothing that is new. The error's text names the endpoints
// and what to do.
var ErrFull = errors.New("etcd is out of space and takes no writes")

// refused says what etcd's own refusal means and, where somebody has to, what to do. An alarm of
// etcd's is kept in mind until it takes a write.
func (s *Store) refused(err error) error {
	full, corrupt := errors.Is(err, rpctypes.ErrNoSpace), errors.Is(err, rpctypes.ErrCorrupt)
	if (full || corrupt) && s.alarmed.CompareAndSwap(false, true) {
		poke(s.aliveChanged) // the alive key is written until that works
	}
	switch {
	case full:
		todo := "compact and defragment it, then disarm the alarm: etcdctl compact, etcdctl defrag, etcdctl alarm disarm"
		if s.embedded() {
			todo = "its member makes room by itself"
		}
		return fmt.Errorf("%w at %s: %s", ErrFull, s.where(), todo)
	case corrupt:
		return fmt.Errorf("etcd at %s refuses everything, for its members' data differ: restore the one that is damaged, then etcdctl alarm disarm", s.where())
	}
	return fmt.Errorf("etcd: %w", err)
}

// embedded says whether etcd is the environment's own.
func (s *Store) embedded() bool { return s.cfg.TLS != nil && s.cfg.TLS.ServerName == ServerName }
