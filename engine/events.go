package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
)

// Event says that something has changed with a container.
type Event struct {
	Action    string // "rename", "connect" or "disconnect"
	Container string // its ID
}

// filters are what Watch asks for: what changes a container's names or ports.
const filters = `{"type":["container","network"],"event":["rename","connect","disconnect"]}`

// Watch gives each event to seen, until ctx ends or Docker ends the stream; ready is called when the stream has begun, from
// where on nothing is missed. seen must be quick: Docker waits for it, for a tenth of a second.
func (c *Client) Watch(ctx context.Context, ready func(), seen func(Event)) error {
	body, err := c.open(ctx, "events", "/events?filters="+url.QueryEscape(filters))
	if err != nil {
		return err
	}
	defer body.Close()
	ready()
	for dec := json.NewDecoder(body); ; {
		var e struct {
			Type, Action string
			Actor        struct {
				ID         string
				Attributes map[string]string
			}
		}
		if err := dec.Decode(&e); err != nil {
			return fmt.Errorf("Docker's API: events: %w", err)
		}
		id := e.Actor.ID
		if e.Type == "network" {
			id = e.Actor.Attributes["container"]
		}
		seen(Event{Action: e.Action, Container: id})
	}
}
