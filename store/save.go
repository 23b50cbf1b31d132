package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
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
	Base        string    `json:"base,omitempty"` // ID, for the tail
	Revision    int64     `json:"revision"`
	ClusterID   uint64    `json:"cluster_id"`
	Taken       time.Time `json:"taken"`
	Mark        mark      `json:"mark,omitzero"`
}

type savedFact struct {
	Key   string          `json:"k"`
	Value json.RawMessage `json:"f,omitempty"`
}

// keeper keeps the last Snapshot on disk: the whole of it soon after a change, but not too often, and what has changed meanwhile at
// once, in the tail.
type keeper struct {
	cp          *Checkpoint
	environment string
	kept        *Snapshot // what the two files say together
	tail        tail
}

// save keeps Snapshots until ctx ends.
func (s *Store) save(ctx context.Context) error {
	k, changed := s.keeper, s.Subscribe()
	if err := k.tail.resume(); err != nil {
		s.complain(err) // the next whole snapshot begins another
	}
	defer k.tail.end()
	due := time.NewTimer(0)
	due.Stop()
	defer due.Stop()
	waits := false // for due
	var next time.Time
	for {
		select {
		case <-changed:
			if err := k.note(s.Snapshot()); err != nil {
				s.complain(err)
			}
			if !waits {
				waits = true
				due.Reset(max(saveSoon, time.Until(next)))
			}
			continue
		case <-due.C:
			waits = false
		case <-ctx.Done():
			select {
			case <-changed:
			default:
				if !waits {
					return nil
				}
			}
		}
		start := time.Now()
		err := k.write(s.Snapshot())
		if ctx.Err() != nil {
			return err
		}
		next = time.Now().Add(max(saveEvery, saveShare*time.Since(start)))
		if err != nil {
			s.complain(err)
			waits = true
			due.Reset(time.Until(next))
		}
	}
}

// note adds what has changed since the last time.
func (k *keeper) note(snap *Snapshot) error {
	if k.tail.file == nil || snap.Empty() || snap.FromDisk {
		return nil
	}
	c := change{Revision: snap.Revision, ClusterID: snap.ClusterID, Taken: snap.Taken, Mark: snap.mark}
	var errs []error
	snap.since(k.kept, func(key factKey, fact any) {
		saved, err := saved(key, fact)
		c.Facts, errs = append(c.Facts, saved), append(errs, err)
	})
	k.kept = snap
	return errors.Join(errors.Join(errs...), k.tail.add(c))
}

// write writes the whole.
func (k *keeper) write(snap *Snapshot) error {
	if snap.Empty() || snap.FromDisk {
		return nil
	}
	base := rand.Text()
	if err := k.cp.saveSnapshot(k.environment, base, snap); err != nil {
		return err
	}
	k.kept = snap
	return k.tail.begin(base)
}

// saved is a fact as it is kept; nil: that it is gone.
func saved(k factKey, fact any) (savedFact, error) {
	if fact == nil {
		return savedFact{Key: k.String()}, nil
	}
	value, err := json.Marshal(fact)
	return savedFact{k.String(), value}, err
}

func (c *Checkpoint) saveSnapshot(environment, base string, snap *Snapshot) error {
	var out bytes.Buffer
	packed, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed) // a level that exists
	lines := json.NewEncoder(packed)
	err := lines.Encode(savedHead{savedVersion, environment, base, snap.Revision, snap.ClusterID, snap.Taken, snap.mark})
	snap.since(&Snapshot{}, func(k factKey, fact any) {
		line, encodeErr := saved(k, fact)
		if encodeErr == nil {
			encodeErr = lines.Encode(line)
		}
		err = errors.Join(err, encodeErr)
	})
	if err := errors.Join(err, packed.Close()); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := c.snapshot.put(snapshotKey, out.Bytes()); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// loadSnapshot reads what was saved last; the zero Snapshot if there is none. Its facts are checked as etcd's are, but for the
// signatures, which were good when they were saved. A Snapshot with another authority than this host's is refused: it was left
// by who this host was before, and with it etcd would be taken for another environment's.
func (c *Checkpoint) loadSnapshot(environment string) (*Snapshot, error) {
	snap, _, err := c.loadWithTail(environment)
	return snap, err
}

// loadWithTail also tells how much of the tail is good. Without the changes in it, which could not be read, there is a Snapshot and an error.
func (c *Checkpoint) loadWithTail(environment string) (snap *Snapshot, size int64, err error) {
	fail := func(err error) (*Snapshot, int64, error) { return nil, 0, fmt.Errorf("snapshot: %w", err) }
	value, err := withFaults(func() ([]byte, error) { return c.snapshot.get(snapshotKey) })
	if err != nil {
		return fail(err)
	}
	if value == nil {
		return &Snapshot{}, 0, nil
	}
	packed, err := gzip.NewReader(bytes.NewReader(value))
	if err != nil {
		return fail(err)
	}
	lines := json.NewDecoder(packed)
	var head savedHead
	if err := lines.Decode(&head); err != nil {
		return fail(err)
	}
	if head.V != savedVersion || head.Environment != environment {
		return fail(fmt.Errorf("of version %d and environment %q", head.V, head.Environment))
	}
	b := newBuilder(&Snapshot{Revision: head.Revision, ClusterID: head.ClusterID, Taken: head.Taken, FromDisk: true, mark: head.Mark})
	for {
		var fact savedFact
		err := lines.Decode(&fact)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fail(err)
		}
		b.set(fact.Key, fact.Value)
	}
	size, err = readTail(c.tailPath(), head.Base, func(c change) {
		b.next.Revision, b.next.ClusterID, b.next.Taken, b.next.mark = c.Revision, c.ClusterID, c.Taken, c.Mark
		for _, fact := range c.Facts {
			if fact.Value == nil {
				b.remove(fact.Key)
			} else {
				b.set(fact.Key, fact.Value)
			}
		}
	})
	tailErr := err
	if own := c.Local().Identity; b.next.CA != nil && !own.believes(b.next.CA) {
		return fail(errors.New("its certificate authority is not this host's"))
	}
	if tailErr != nil {
		return &b.next, 0, fmt.Errorf("changes since the snapshot: %w", tailErr)
	}
	return &b.next, size, nil
}

func (c *Checkpoint) tailPath() string { return c.snapshot.path + ".tail" }
