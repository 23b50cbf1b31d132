package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// patience is what Busy takes at most; maxBusy is how many containers it asks about at most.
const (
	patience = 100 * time.Millisecond
	maxBusy  = 32
)

// Busy says which of the containers Docker is just starting, stopping or connecting: those whose own answers it holds back
// while it answers other questions. It takes a tenth of a second at most, whatever Docker does, so that a call of dockerd's
// may wait for it, and less if none is busy. If that is not certain, or they are too many to be asked about, it names none.
func (c *Client) Busy(ctx context.Context, ids []string) []string {
	if len(ids) > maxBusy {
		return nil
	}
	ids = slices.Clone(ids)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type answer struct {
		id  string
		err error
	}
	answers := make(chan answer, len(ids))
	for _, id := range ids {
		go func() {
			var nothing struct{}
			answers <- answer{id, c.get(ctx, fmt.Sprintf("container %.12s", id), "/containers/"+url.PathEscape(id)+"/json", &nothing)}
		}()
	}
	half := time.NewTimer(patience / 2)
	defer half.Stop()
	alive := make(chan bool, 1)
	for len(ids) > 0 {
		select {
		case a := <-answers:
			if a.err != nil && !errors.Is(a.err, ErrForgotten) {
				if ctx.Err() == nil { // Docker is in trouble
					return nil
				}
				continue // it was cut off, like all that are left
			}
			ids = slices.DeleteFunc(ids, func(id string) bool { return id == a.id })
		case <-half.C: // asked after the others: if this is answered, they are not late for Docker being slow
			go func() {
				_, err := c.ping(ctx)
				alive <- err == nil
			}()
		case <-ctx.Done():
			select {
			case ok := <-alive:
				if ok {
					return ids
				}
			default:
			}
			return nil
		}
	}
	return nil
}

// ping asks a question that waits for nothing, and returns the header of the answer.
func (c *Client) ping(ctx context.Context) (http.Header, error) {
	res, err := c.request(ctx, http.MethodGet, "ping", "/_ping", nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return res.Header, res.Body.Close()
}

// Names lists the names of all containers of the host, running or not, by ID. No lock of Docker's keeps the answer back.
func (c *Client) Names(ctx context.Context) (map[string]string, error) {
	var answer []struct {
		ID    string `json:"Id"`
		Names []string
	}
	if err := c.get(ctx, "containers", "/containers/json?all=1", &answer); err != nil {
		return nil, err
	}
	names := make(map[string]string, len(answer))
	for _, entry := range answer {
		for _, name := range entry.Names {
			if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") { // else it is what a --link calls it
				names[entry.ID] = name
			}
		}
	}
	return names, nil
}
