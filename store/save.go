package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	snapshotKey  = "snapshot"
	saveSoon     = time.Second // after a change: the first list brings on more, such as this host's own facts
	saveEvery    = 10 * time.Second
	savedVersion = 2  // what is saved was verified; 1 was not
	saveShare    = 50 // at most one part in so many of the time goes into saving
)

// savedHead is the first line of a saved snapshot; each fact follows as a line of its own, as etcd has it.
type savedHead struct {
	V           int       `json:"v"`
	Environment string    `json:"environment"`
	Revision    int64     `json:"revision"`
	ClusterID   uint64    `json:"cluster_id"`
	Taken       time.Time `json:"taken"`
}

type savedFact struct {
	Key   string          `json:"k"`
	Value json.RawMessage `json:"f"`
}

// save keeps the last Snapshot on disk: soon after a change, but not too often, and when ctx ends.
func (s *Store) save(ctx context.Context) error {
	changed := s.Subscribe()
	rest := func(d time.Duration) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			select {
			case <-changed:
			default:
				return nil
			}
		}
		rest(saveSoon)
		start := time.Now()
		switch err := s.cp.saveSnapshot(s.cfg.Environment, s.Snapshot()); {
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			s.complain(err)
		}
		rest(max(saveEvery, saveShare*time.Since(start)) - saveSoon)
	}
}

func (c *Checkpoint) saveSnapshot(environment string, snap *Snapshot) error {
	if snap.Empty() || snap.FromDisk {
		return nil
	}
	var out bytes.Buffer
	packed, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed) // a level that exists
	lines := json.NewEncoder(packed)
	err := lines.Encode(savedHead{savedVersion, environment, snap.Revision, snap.ClusterID, snap.Taken})
	each := func(k factKey, fact any) {
		value, encodeErr := json.Marshal(fact)
		if encodeErr == nil {
			encodeErr = lines.Encode(savedFact{k.String(), value})
		}
		err = errors.Join(err, encodeErr)
	}
	for id, h := range snap.Hosts {
		each(hostKey(id), h)
	}
	for name, n := range snap.Networks {
		each(networkKey(name), n)
	}
	for k, claim := range snap.Blocks {
		each(blockKey(k), claim)
	}
	for k, claim := range snap.Statics {
		each(staticKey(k), claim)
	}
	for a, claim := range snap.Routers {
		each(routerKey(a), claim)
	}
	snap.EachEndpoint(func(k EndpointKey, e Endpoint) bool {
		each(endpointKey(k), e)
		return true
	})
	for id, r := range snap.Revoked {
		each(revokedKey(id), r)
	}
	if len(snap.Members) > 0 {
		each(factKey{kind: kindMembers}, memberList{Version, snap.Members})
	}
	if snap.CA != nil {
		each(factKey{kind: kindCA}, authority{V: Version, Cert: snap.CA})
	}
	if err := errors.Join(err, packed.Close()); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := c.snapshot.put(snapshotKey, out.Bytes()); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// loadSnapshot reads what saveSnapshot wrote; the zero Snapshot if there is none. Its facts are checked as etcd's are, but for the
// signatures, which were good when they were saved. A Snapshot with another authority than this host's is refused: it was left
// by who this host was before, and with it etcd would be taken for another environment's.
func (c *Checkpoint) loadSnapshot(environment string) (*Snapshot, error) {
	value, err := withFaults(func() ([]byte, error) { return c.snapshot.get(snapshotKey) })
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if value == nil {
		return &Snapshot{}, nil
	}
	packed, err := gzip.NewReader(bytes.NewReader(value))
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	lines := json.NewDecoder(packed)
	var head savedHead
	if err := lines.Decode(&head); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if head.V != savedVersion || head.Environment != environment {
		return nil, fmt.Errorf("snapshot: of version %d and environment %q", head.V, head.Environment)
	}
	b := newBuilder(&Snapshot{Revision: head.Revision, ClusterID: head.ClusterID, Taken: head.Taken, FromDisk: true})
	for {
		var fact savedFact
		err := lines.Decode(&fact)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
		b.set(fact.Key, fact.Value)
	}
	if own := c.Local().Identity; b.next.CA != nil && !own.believes(b.next.CA) {
		return nil, errors.New("snapshot: its certificate authority is not this host's")
	}
	return &b.next, nil
}
