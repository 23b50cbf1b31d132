package mesh

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// progress is what the rounds have reached, for those who wait for it or show it.
type progress struct {
	mu       sync.Mutex
	revision int64
	at       time.Time
	err      error
	desired  Desired
	next     chan struct{} // closed by the next publish
}

func (p *progress) publish(d Desired, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.desired = err, d
	if err == nil {
		p.revision, p.at = d.Revision, time.Now()
	}
	close(p.next)
	p.next = make(chan struct{})
}

// Applied tells which revision of the facts this host carries in full, and since when; err is that of the last round.
func (r *Reconciler) Applied() (revision int64, at time.Time, err error) {
	p := &r.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.revision, p.at, p.err
}

// Desired is what the last round computed. It must not be changed.
func (r *Reconciler) Desired() Desired {
	r.progress.mu.Lock()
	defer r.progress.mu.Unlock()
	return r.progress.desired
}

// Ignored are the facts that were not accepted in the last round, with the reasons.
func (r *Reconciler) Ignored() []string { return append([]string{}, r.Desired().Ignored...) }

// Next gives a channel that is closed when the next round has ended, whatever it came to.
func (r *Reconciler) Next() <-chan struct{} {
	r.progress.mu.Lock()
	defer r.progress.mu.Unlock()
	return r.progress.next
}

// WaitApplied waits until this host carries the facts up to revision in full. When ctx ends first, the error says why
// the last round failed, if it did.
func (r *Reconciler) WaitApplied(ctx context.Context, revision int64) error {
	p := &r.progress
	for {
		p.mu.Lock()
		reached, err, next := p.revision, p.err, p.next
		p.mu.Unlock()
		if reached >= revision {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("revision %d not carried: %w", revision, err)
			}
			return fmt.Errorf("revision %d not carried: %w", revision, ctx.Err())
		}
	}
}
