package driver

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/store"
)

// maxQuestions is how many containers are asked about at a time.
const maxQuestions = 4

// known is what has been learnt from Docker about endpoints here since the agent's start.
type known struct {
	mu      sync.Mutex
	changes uint64            // counts what makes earlier answers stale
	of      map[string]string // endpoint ID → ID of the container that it was described by
	warned  map[string]bool   // by endpoint ID
}

// has says whether the endpoint's description is that of this container.
func (k *known) has(endpoint, container string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.of[endpoint] == container
}

// stale makes a container be asked about again; "" is all of them.
func (k *known) stale(container string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changes++
	for endpoint, by := range k.of {
		if container == "" || by == container {
			delete(k.of, endpoint)
		}
	}
}

func (k *known) now() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changes
}

// note keeps an answer, unless it was asked for before something has changed.
func (k *known) note(at uint64, container string, endpoints []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changes != at {
		return
	}
	if k.of == nil {
		k.of = map[string]string{}
	}
	for _, id := range endpoints {
		k.of[id] = container
	}
}

// first says whether the endpoint is to be warned of.
func (k *known) first(endpoint string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.warned == nil {
		k.warned = map[string]bool{}
	}
	before := k.warned[endpoint]
	k.warned[endpoint] = true
	return !before
}

// only forgets all endpoints but these.
func (k *known) only(endpoints map[string]store.LocalEndpoint) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.of {
		if _, ok := endpoints[id]; !ok {
			delete(k.of, id)
		}
	}
	for id := range k.warned {
		if _, ok := endpoints[id]; !ok {
			delete(k.warned, id)
		}
	}
}

// learn asks Docker about containers, given with their endpoints, and writes down what it says. In contrast to a network's list
// these answers wait for starts that wait for us, so only the background asks.
func (d *Driver) learn(ctx context.Context, containers map[string][]string) error {
	at := d.known.now()
	var mu sync.Mutex
	answers := map[string]engine.Container{}
	var errs []error
	var group errgroup.Group
	group.SetLimit(maxQuestions)
	for id := range containers {
		group.Go(func() error {
			c, err := d.o.Docker.Container(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				answers[id] = c
			} else if !errors.Is(err, engine.ErrForgotten) { // which is the next list's matter
				errs = append(errs, err)
			}
			return nil
		})
	}
	_ = group.Wait()
	if len(answers) == 0 {
		return errors.Join(errs...)
	}
	err := d.cp.Update(func(l *store.Local) error {
		for id, c := range answers {
			for _, endpoint := range containers[id] {
				if e, ok := l.Endpoints[endpoint]; ok {
					e.Endpoint = describe(e.Endpoint, c)
					l.Endpoints[endpoint] = e
					remember(l, e.Endpoint)
				}
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for id, c := range answers {
		d.known.note(at, id, containers[id])
		d.warn(c, containers[id])
	}
	return errors.Join(errs...)
}

// warn tells, once for each endpoint, of an option that Docker does not tell plugins of and that has no effect on the network.
func (d *Driver) warn(c engine.Container, endpoints []string) {
	for _, id := range endpoints {
		if list := c.LinkLocal[id]; len(list) > 0 && d.o.Log != nil && d.known.first(id) {
			d.o.Log.Warnf("container %s has --link-local-ip %s, which networks of meshsec do not carry", c.Name, strings.Join(list, ", "))
		}
	}
}

// listen has Docker tell what changes, such as a name, and then looks at once; without it names are looked at now and then.
// What may have been missed is made good at each new beginning.
func (d *Driver) listen(ctx context.Context) {
	pause := soon
	for ctx.Err() == nil {
		stream, cancel := context.WithCancel(ctx)
		_ = d.o.Docker.Watch(stream, func() { // it ends when dockerd does, or there is none: watchDocker says so
			names, err := d.o.Docker.Names(stream)
			if err != nil {
				cancel()
				return
			}
			if _, err := d.askEngine(stream); err != nil {
				d.log(err, "docker's version is not known")
			}
			pause = soon
			d.containers.begin(names)
			d.known.stale("")
			wake(d.look)
		}, func(e engine.Event) {
			d.containers.change(e, d.o.Now())
			d.known.stale(e.Container)
			wake(d.look)
		})
		cancel()
		d.containers.end()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		pause = min(2*pause, lookEvery)
	}
}
