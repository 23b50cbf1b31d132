// Package engine asks Docker's engine API for what Docker's plugin protocol does not tell: the names of containers, and what
// has become of them.
//
// dockerd holds locks while it waits for a plugin's answer, and some of its own answers wait for them: whoever serves a call
// of dockerd's must not wait for one of these. Which they are is said at each method. The connection is made for each
// question, since the socket is another one after dockerd was restarted, and may not be there at all.
package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The bounds of a question to Docker.
const (
	within    = 5 * time.Second
	maxAnswer = 64 << 20 // bytes; a network's list has some 300 for each container
)

// ErrForgotten says that Docker has no such thing. It is an answer, not the lack of one.
var ErrForgotten = errors.New("Docker has no such thing")

// ErrNoManager says that a question about a Swarm met an engine that is none of its managers, or a Swarm that has no leader.
var ErrNoManager = errors.New("Docker is no Swarm manager with a quorum")

// Client asks one engine. Its methods may be called concurrently.
type Client struct {
	http *http.Client
}

// New returns a client for the socket at this path, which need not exist yet.
func New(socket string) *Client {
	return &Client{http: &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
		},
	}}
}

// open asks for a path and gives the body of a good answer.
func (c *Client) open(ctx context.Context, what, path string) (io.ReadCloser, error) {
	res, err := c.request(ctx, http.MethodGet, what, path, nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// request sends a body, as JSON where there is one, and returns the answer if its status is the good
// one; the caller closes its body.
func (c *Client) request(ctx context.Context, method, what, path string, body []byte, good int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("Docker's API: %w", err)
	}
	if res.StatusCode == good {
		return res, nil
	}
	defer res.Body.Close()
	var answer struct {
		Message string `json:"message"`
	}
	err = json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&answer)
	if res.StatusCode == http.StatusServiceUnavailable && err == nil && answer.Message != "" {
		return nil, fmt.Errorf("%w: %s", ErrNoManager, answer.Message)
	}
	if res.StatusCode == http.StatusNotFound && err == nil && answer.Message != "" { // without a message it was not the engine's own
		return nil, fmt.Errorf("%w: %s", ErrForgotten, answer.Message)
	}
	return nil, fmt.Errorf("Docker's API: %s: status %d: %s", what, res.StatusCode, answer.Message)
}

// get asks for a path and decodes the answer.
func (c *Client) get(ctx context.Context, what, path string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	body, err := c.open(ctx, what, path)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("Docker's API: %s: %w", what, err)
	}
	return nil
}

// Attached is what a network's list says of an endpoint's container.
type Attached struct {
	Name string
	ID   string // empty while the container is being started
}

// Endpoints lists the endpoints that Docker has in a network on this host, by endpoint ID: those of running containers. No
// lock of Docker's keeps the answer back.
func (c *Client) Endpoints(ctx context.Context, networkID string) (map[string]Attached, error) {
	var answer struct {
		ID         string `json:"Id"`
		Containers map[string]struct {
			Name       string
			EndpointID string
		}
	}
	what := fmt.Sprintf("network %.12s", networkID)
	if err := c.get(ctx, what, "/networks/"+url.PathEscape(networkID), &answer); err != nil {
		return nil, err
	}
	if answer.ID != networkID {
		return nil, fmt.Errorf("Docker's API: %s: the answer is about %.12q", what, answer.ID)
	}
	list := make(map[string]Attached, len(answer.Containers))
	for key, entry := range answer.Containers {
		e := Attached{Name: entry.Name, ID: key}
		if strings.HasPrefix(key, "ep-") { // during the start the key is "ep-" and the endpoint's ID
			e.ID = ""
		}
		list[entry.EndpointID] = e
	}
	return list, nil
}
