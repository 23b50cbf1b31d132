package driver

import (
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
	dockerWithin = 5 * time.Second
	maxAnswer    = 64 << 20 // bytes; a network's list has some 300 for each container
)

// errForgotten says that Docker has no such network. It is an answer, not the lack of one.
var errForgotten = errors.New("Docker has no such network")

// Docker asks the engine's API, by its unix socket. The connection is made for each question: the socket is another one
// after dockerd was restarted.
type Docker struct {
	http *http.Client
}

// NewDocker returns a client for the socket at this path, which need not exist yet.
func NewDocker(socket string) *Docker {
	return &Docker{http: &http.Client{
		Timeout: dockerWithin,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
		},
	}}
}

// container is what Docker's list says of an endpoint.
type container struct {
	name string
	id   string // empty while the container is being started
}

// endpoints lists the endpoints that Docker has in a network on this host, by endpoint ID: those of running containers.
// The question is safe at any time; one about a container would wait for a start that waits for us.
func (c *Docker) endpoints(ctx context.Context, networkID string) (map[string]container, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/networks/"+url.PathEscape(networkID), nil)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("Docker's API: %w", err)
	}
	defer res.Body.Close()
	var answer struct {
		ID         string `json:"Id"`
		Message    string `json:"message"`
		Containers map[string]struct {
			Name       string
			EndpointID string
		}
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("Docker's API: network %.12s: status %d: %w", networkID, res.StatusCode, err)
	}
	switch {
	case res.StatusCode == http.StatusNotFound && answer.Message != "":
		return nil, fmt.Errorf("%w: %s", errForgotten, answer.Message)
	case res.StatusCode != http.StatusOK || answer.ID != networkID:
		return nil, fmt.Errorf("Docker's API: network %.12s: status %d: %s", networkID, res.StatusCode, answer.Message)
	}
	list := make(map[string]container, len(answer.Containers))
	for key, entry := range answer.Containers {
		e := container{name: entry.Name, id: key}
		if strings.HasPrefix(key, "ep-") { // during the start the key is "ep-" and the endpoint's ID
			e.id = ""
		}
		list[entry.EndpointID] = e
	}
	return list, nil
}
