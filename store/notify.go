package store

import "sync"

// notifier tells subscribers that something has changed. Nobody ever waits: a subscriber that has not yet received the
// last notification gets no second one. The zero value is ready.
type notifier struct {
	mu   sync.Mutex
	subs []chan struct{}
}

func (n *notifier) subscribe() <-chan struct{} {
	ch := make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subs = append(n.subs, ch)
	return ch
}

func (n *notifier) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ch := range n.subs {
		poke(ch)
	}
}

// poke fills a channel of capacity one.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
