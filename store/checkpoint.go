package store

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// Checkpoint keeps what this host holds on disk: the Local and, in a second file beside it (path + ".snapshot"), the last
// Snapshot of the facts. The file's lock keeps a second agent out. All methods may be called concurrently.
type Checkpoint struct {
	journal  *journal
	snapshot *file
	around   Around

	local atomic.Pointer[Local]
	notifier
	changed <-chan struct{}

	updates chan *update
	closing chan struct{}
	closed  chan struct{}
	once    sync.Once
}

// update is a call of Update on its way through the writer.
type update struct {
	fn     func(*Local) error
	forget bool // then nothing of what was before is left in the file
	err    error
	panics any
	done   chan struct{}
}

// mergeMax is the number of calls that share one write to disk.
const mergeMax = 256

var errClosed = errors.New("checkpoint: closed")

// OpenCheckpoint opens or creates the checkpoint at path, with mode 0600. A file that another agent holds, that is
// damaged (ErrDamaged), or that a newer version wrote is an error that names it, and it is left as it is.
func OpenCheckpoint(path string) (*Checkpoint, error) { return OpenCheckpointAround(path, nil) }

// OpenCheckpointAround is OpenCheckpoint with around called around each change of the files.
func OpenCheckpointAround(path string, around Around) (*Checkpoint, error) {
	return withFaults(func() (*Checkpoint, error) { return openCheckpoint(path, around) })
}

func openCheckpoint(path string, around Around) (*Checkpoint, error) {
	f, err := openFile(path, around)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{
		updates: make(chan *update),
		closing: make(chan struct{}),
		closed:  make(chan struct{}),
		around:  around,
	}
	if c.journal, err = openJournal(f); err != nil {
		f.close()
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	local, err := decodeLocal(c.journal.values)
	if err != nil {
		f.close()
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	if c.snapshot, err = openSnapshotFile(path+".snapshot", around); err != nil {
		f.close()
		return nil, err
	}
	c.local.Store(local)
	c.changed = c.subscribe()
	go c.write()
	return c, nil
}

// openSnapshotFile makes a new file where the old one can't be read: etcd has the facts, only a start without etcd
// needs them.
func openSnapshotFile(path string, around Around) (*file, error) {
	f, err := openFile(path, around)
	if err == nil {
		return f, nil
	}
	if around.change("file: damaged", func() error { return os.Rename(path, path+".damaged") }) != nil {
		return nil, err
	}
	return openFile(path, around)
}

// Close waits for updates that are being written, then closes the files and frees their locks.
func (c *Checkpoint) Close() error {
	c.once.Do(func() {
		close(c.closing)
		<-c.closed
		c.snapshot.close()
		c.journal.file.close()
	})
	return nil
}

// Local returns everything local. It is immutable; later Updates make new ones.
func (c *Checkpoint) Local() *Local { return c.local.Load() }

// Changed holds one value when there was an Update since the last receive. It has one consumer, the publisher; others
// use Subscribe.
func (c *Checkpoint) Changed() <-chan struct{} { return c.changed }

// Subscribe returns a channel of its own that holds one value when there was an Update since the last receive.
func (c *Checkpoint) Subscribe() <-chan struct{} { return c.subscribe() }

// Update changes Local by fn, and returns when the change is on disk. fn gets a copy whose maps it may change; it must be
// quick and must not call Update. If fn returns an error, or the disk does, nothing has changed. Calls that come while
// a write is under way are merged into the next one: one fsync for all of them.
func (c *Checkpoint) Update(fn func(*Local) error) error {
	return c.do(&update{fn: fn, done: make(chan struct{})})
}

// Forget is Update, and leaves nothing in the file of what was in it before: the file is written anew and the old one
// overwritten. A disk that keeps old sectors by itself, or a backup, is out of its reach.
func (c *Checkpoint) Forget(fn func(*Local) error) error {
	return c.do(&update{fn: fn, forget: true, done: make(chan struct{})})
}

func (c *Checkpoint) do(u *update) error {
	select {
	case c.updates <- u:
	case <-c.closing:
		return errClosed
	}
	<-u.done
	if u.panics != nil {
		panic(u.panics) // in the goroutine that it belongs to
	}
	return u.err
}

// write is the goroutine that owns the journal.
func (c *Checkpoint) write() {
	defer close(c.closed)
	debug.SetPanicOnFault(true) // a disk that fails under the mapped file is an error, see guard
	for {
		select {
		case u := <-c.updates:
			c.commit(c.merge(u))
		case <-c.closing:
			return
		}
	}
}

// merge collects the calls that are waiting.
func (c *Checkpoint) merge(first *update) []*update {
	batch := []*update{first}
	for len(batch) < mergeMax {
		select {
		case u := <-c.updates:
			batch = append(batch, u)
		default:
			return batch
		}
	}
	return batch
}

func (c *Checkpoint) commit(batch []*update) {
	before := c.Local()
	after := before
	for _, u := range batch {
		next := after.clone()
		if u.run(next); u.err == nil && u.panics == nil {
			after = next
		}
	}
	changes, err := diffLocal(before, after)
	if err == nil && len(changes) > 0 {
		err = c.journal.write(changes)
	}
	if err == nil && len(changes) > 0 {
		c.local.Store(after)
		c.notify()
	}
	if err == nil && slices.ContainsFunc(batch, func(u *update) bool { return u.forget && u.err == nil }) {
		err = c.journal.rewrite()
	}
	for _, u := range batch {
		if err != nil && u.err == nil {
			u.err = fmt.Errorf("checkpoint: %w", err)
		}
		close(u.done)
	}
}

func (u *update) run(l *Local) {
	defer func() { u.panics = recover() }()
	u.err = u.fn(l)
}
