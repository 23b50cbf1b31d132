package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// Client talks to an agent's control socket. The zero value is not usable; use NewClient. Safe for concurrent use.
type Client struct {
	path string
	http *http.Client
}

// NewClient gives a client of the socket at path. Nothing is dialled yet.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: 10 * time.Second}}
}

// Get reads the view name ("status", "peers", …) into out.
func (c *Client) Get(ctx context.Context, name string, out any) error {
	return c.do(ctx, http.MethodGet, name, nil, out)
}

// DNS asks what a container is answered about a name.
func (c *Client) DNS(ctx context.Context, name, kind, from string) (d DNS, err error) {
	return d, c.do(ctx, http.MethodGet, "dns?"+url.Values{"name": {name}, "type": {kind}, "from": {from}}.Encode(), nil, &d)
}

// RemoveHost shuts a host out of the environment for good, by its name or ID, and returns its ID. ca may be empty, see Source.
func (c *Client) RemoveHost(ctx context.Context, ref, ca string) (string, error) {
	var id string
	err := c.do(ctx, http.MethodPost, "host/rm", url.Values{"host": {ref}, "ca": {ca}}, &id)
	return id, err
}

// Rekey asks for new keys with every peer and returns those peers' names.
func (c *Client) Rekey(ctx context.Context) (peers []string, err error) {
	err = c.do(ctx, http.MethodPost, "rekey", nil, &peers)
	return peers, err
}

// RecoverEtcd makes an etcd of one member out of this host's; see Source. It takes seconds: servers end and start.
func (c *Client) RecoverEtcd(ctx context.Context, lost []string) error {
	patient := *c.http
	patient.Timeout = time.Minute
	var nothing string
	return (&Client{path: c.path, http: &patient}).do(ctx, http.MethodPost, "etcd/recover", url.Values{"lost": lost}, &nothing)
}

func (c *Client) do(ctx context.Context, method, name string, form url.Values, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://meshsec/v1/"+name, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("control socket %s: %w", c.path, err)
	}
	if resp.StatusCode != http.StatusOK {
		var f failure
		if json.Unmarshal(body, &f) != nil || f.Error == "" {
			f.Error = resp.Status
		}
		return errors.New(f.Error)
	}
	return json.Unmarshal(body, out)
}

// explain says what an operator would otherwise have to guess from an errno.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no meshsec agent runs on this host (nothing answers at %s): docker plugin ls, docker plugin enable meshsec/plugin", c.path)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: only root may ask the agent: try sudo", c.path)
	}
	return fmt.Errorf("control socket %s: %w", c.path, err)
}
