package metadata

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// How much work there may be. One container's work is charged to its rate: beyond the request itself, a request's worth
// for each workUnit bytes that are rendered.
const (
	maxAnswer     = 4 << 20  // bytes of a rendered answer
	bigAnswer     = 16 << 10 // bytes; what is at least so long is rendered in turn
	workUnit      = 16 << 10 // bytes
	yamlWork      = 6        // what a byte of YAML costs, in bytes of JSON
	catalogWork   = 64       // what an endpoint costs that is put into a catalog, in the same
	slotWithin    = 2 * time.Second
	maxBig        = 8 // big answers that are in memory until they are read
	maxBigOf      = 2 // of which each container may have so many
	maxCatalogs   = 8
	maxRenderings = 4
)

// What keeps a request from an answer.
var (
	errTooLong = errors.New("the answer is longer than 4 MiB; ask for a narrower path, such as that of one container, or as text for the names only")
	errBusy    = errors.New("too many large answers are being made; ask again, or for a narrower path")
	errSpent   = errors.New("too much is asked by this container; ask less often, or for narrower paths")
)

// statusOf is how a request ends because of an error.
func statusOf(err error) int {
	switch {
	case errors.Is(err, errTooLong):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errBusy):
		return http.StatusServiceUnavailable
	case errors.Is(err, errSpent):
		return http.StatusTooManyRequests
	}
	return http.StatusInternalServerError
}

// job is the costly work for one request. There is one slot for such work in the whole server: it never takes more than one
// processor, nor the memory of more than one answer in the making. The first error stays.
type job struct {
	s     *Server
	ctx   context.Context
	view  view
	slot  bool // it has the slot
	place bool // it has one of the places of big answers
	// waited: it is part of a wait, which is paid for before the next look, so that it does not end because of its own work.
	waited bool
	err    error
}

// enter takes the slot; false: there is an err.
func (j *job) enter() bool {
	if j.slot || j.err != nil {
		return j.err == nil
	}
	timeout := time.NewTimer(slotWithin)
	defer timeout.Stop()
	select {
	case j.s.slot <- struct{}{}:
		j.slot = true
	case <-timeout.C:
		j.err = errBusy
		return false
	case <-j.ctx.Done():
		j.err = errBusy // nobody reads it
		return false
	}
	if !j.waited && j.s.rates.Debt(j.view.from.Addr, j.s.now()) > 0 { // by what was made for others of its requests meanwhile
		j.err = errSpent
	}
	return j.err == nil
}

// hold takes one of the places of big answers as well; it is given back when the answer has been read.
func (j *job) hold() bool {
	if !j.place && j.enter() {
		if j.place = j.s.big.Enter(j.view.from.Addr); !j.place {
			j.err = errBusy
		}
	}
	return j.err == nil
}

// leave gives the slot back.
func (j *job) leave() {
	if j.slot {
		<-j.s.slot
		j.slot = false
	}
}

// done gives back all.
func (j *job) done() {
	j.leave()
	if j.place {
		j.s.big.Leave(j.view.from.Addr)
		j.place = false
	}
}

// charge takes work, in bytes, from the container's rate.
func (j *job) charge(n int) {
	j.s.rates.Owe(j.view.from.Addr, n/workUnit, j.s.now())
}

// catalog gives that of the asker's networks; an empty one if there is an err.
func (j *job) catalog() *catalog {
	k := j.view.key("")
	if c, ok := j.s.catalogs.get(k); ok {
		return c
	}
	if !j.enter() {
		return &catalog{}
	}
	if c, ok := j.s.catalogs.get(k); ok { // made while this one waited
		return c
	}
	c := newCatalog(k.dir, j.view.from.Networks)
	now, _ := j.s.o.Board.Now()
	j.s.catalogs.put(k, c, now)
	j.charge(catalogWork * k.dir.Len())
	return c
}

// answer renders what a path leads to.
func (j *job) answer(value any, path []string, format string) ([]byte, error) {
	if value == nil || j.err != nil {
		return nil, j.err
	}
	size := least(value, format)
	if j.err != nil {
		return nil, j.err
	}
	if size > maxAnswer {
		return nil, errTooLong
	}
	big := size >= bigAnswer
	shared := big && len(path) > 0 && !strings.EqualFold(path[0], "self") // the same for all on the asker's networks
	k := j.view.key(format + " " + strings.ToLower(strings.Join(path, "/")))
	if shared {
		if b, ok := j.s.renderings.get(k); ok {
			j.charge(len(b))
			return b, nil
		}
	}
	if big && !j.hold() {
		return nil, j.err
	}
	b, err := render(value, format)
	if format == formatYAML {
		j.charge(yamlWork * len(b))
	} else {
		j.charge(len(b))
	}
	if err = cmp.Or(j.err, err); err != nil {
		return nil, err
	}
	if shared {
		now, _ := j.s.o.Board.Now()
		j.s.renderings.put(k, b, now)
	}
	return b, nil
}
