package directory

import "sync"

// Board is where the latest Directory hangs. It may be used concurrently.
type Board struct {
	mu   sync.Mutex
	now  *Directory
	next chan struct{} // closed by the next Set
}

// NewBoard returns a board with a directory.
func NewBoard(d *Directory) *Board { return &Board{now: d, next: make(chan struct{})} }

// Now gives the latest directory, and a channel that is closed when there is a later one.
func (b *Board) Now() (*Directory, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now, b.next
}

// Set puts up a directory.
func (b *Board) Set(d *Directory) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = d
	close(b.next)
	b.next = make(chan struct{})
}
