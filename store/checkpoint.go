package store

// Checkpoint keeps what this host holds on disk. All methods may be called concurrently.
type Checkpoint struct{}

// OpenCheckpoint opens or creates the checkpoint at path.
func OpenCheckpoint(path string) (*Checkpoint, error) { return nil, nil }

// Close closes the file and frees its lock.
func (c *Checkpoint) Close() error { return nil }

// Local returns everything local, immutable.
func (c *Checkpoint) Local() *Local { return nil }

// Update changes Local by fn and writes what changed to disk before it returns.
func (c *Checkpoint) Update(fn func(*Local) error) error { return nil }

// Changed is the channel of the publisher.
func (c *Checkpoint) Changed() <-chan struct{} { return nil }

// Subscribe returns a channel that holds one value when there was an Update since the last receive.
func (c *Checkpoint) Subscribe() <-chan struct{} { return nil }
