package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/meshsec/meshsec/engine"
	"github.com/meshsec/meshsec/store"
)

// shortAnswer bounds a question to Docker that one of dockerd's own calls waits for.
const shortAnswer = time.Second / 2

// engineSeen is what Docker has said about itself since the agent's start.
type engineSeen struct {
	mu   sync.Mutex
	last engine.Version
}

// set notes an answer and reports whether it differs from the one before.
func (s *engineSeen) set(v engine.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.last
	s.last = v
	return v != before
}

// Engine returns what Docker last said about itself; zero if it has not answered since the start.
func (d *Driver) Engine() engine.Version {
	d.engine.mu.Lock()
	defer d.engine.mu.Unlock()
	return d.engine.last
}

// askEngine asks Docker which version it is. A new answer is kept in the checkpoint, and warned of
// once where the engine has a known flaw or drops names that it was asked for.
func (d *Driver) askEngine(ctx context.Context) (engine.Version, error) {
	if d.o.Docker == nil {
		return engine.Version{}, errors.New("Docker's API is not asked")
	}
	v, err := d.o.Docker.Version(ctx)
	if err != nil || !d.engine.set(v) {
		return v, err
	}
	if flaw := v.Flaw(); flaw != "" {
		d.log(errors.New(flaw), "docker has a known flaw")
	}
	local := d.cp.Local()
	if v.API.Less(engine.NamesInterfaces) {
		var lost []string
		for _, e := range local.Endpoints {
			if e.IfName != "" {
				lost = append(lost, e.IfName)
			}
		}
		if len(lost) > 0 {
			d.log(fmt.Errorf("engine %v drops %s", v, strings.Join(lost, ", ")),
				"containers lack the interface names that were asked for")
		}
	}
	if local.Identity.EngineAPI == v.API.String() {
		return v, nil
	}
	return v, d.cp.Update(func(l *store.Local) error {
		l.Identity.EngineAPI = v.API.String()
		return nil
	})
}

// checkNaming returns an error unless the engine honours the interface names that Join answers. While
// Docker does not answer, as when it starts containers at boot, its last word counts.
func (d *Driver) checkNaming(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shortAnswer)
	defer cancel()
	api := engine.ParseAPI(d.cp.Local().Identity.EngineAPI)
	if v, err := d.askEngine(ctx); err == nil {
		api = v.API
	}
	switch {
	case api == engine.API{}:
		return errors.New("Docker has not answered yet which API version it has (docker.sock in the host's /run)")
	case api.Less(engine.NamesInterfaces):
		return fmt.Errorf("this engine (API %v) drops the name that a plugin's driver gives; engines from API %v on take it "+
			"(Docker 29.8)", api, engine.NamesInterfaces)
	}
	return nil
}
