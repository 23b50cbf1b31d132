package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
)

// Event says that something has changed with a container.
type Event struct {
	Action    string // of a container "create", "rename" or "destroy", between it and a network "connect" or "disconnect"
	Container string // its ID
	Name      string // of the container, as it is now; empty with "connect" and "disconnect"
}

// filters are what Watch asks for: what changes a container's names or ports, or which containers there are.
const filters = `{"type":["container","network"],"event":["create","rename","destroy","connect","disconnect"]}`

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
		event := Event{Action: e.Action, Container: e.Actor.ID, Name: e.Actor.Attributes["name"]}
		if e.Type == "network" {
			event.Container, event.Name = e.Actor.Attributes["container"], "" // the name is the network's
		}
		seen(event)
	}
}
