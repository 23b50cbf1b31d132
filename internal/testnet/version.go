package testnet

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/meshsec/meshsec/internal/engines"
)

// EngineName is the engine that the environment names, one of engines.Names, by default today's. The laboratory has Debian's
// only.
func EngineName() (string, error) {
	if InLab() {
		return engines.Chosen(engines.Old)
	}
	return engines.Chosen(engines.Today)
}

// findEngine makes the engine's programs those of the cluster.
func (c *Cluster) findEngine(ctx context.Context) error {
	root, err := Root()
	if err != nil {
		return err
	}
	name, err := EngineName()
	if err != nil {
		return err
	}
	if c.engine, err = engines.Find(ctx, root, name); err != nil {
		return err
	}
	return c.engine.Link(c.programs())
}

// programs is the directory with the engine's programs.
func (c *Cluster) programs() string { return filepath.Join(c.dir, "bin") }

// API is the minor number of the highest version of Docker's API that the host's dockerd speaks; the major one is 1.
func (h *Host) API(ctx context.Context) (int, error) {
	version, err := h.Docker(ctx, "version", "--format", "{{.Server.APIVersion}}")
	if err != nil {
		return 0, err
	}
	minor, ok := strings.CutPrefix(version, "1.")
	if !ok {
		return 0, fmt.Errorf("%s: version %q of Docker's API", h.Name, version)
	}
	return strconv.Atoi(minor)
}

var saidEngine sync.Once

// sayEngine prints, once, which engine this program's dockerds and clients are.
func (h *Host) sayEngine(ctx context.Context) (err error) {
	saidEngine.Do(func() {
		var versions string
		versions, err = h.Docker(ctx, "version", "--format",
			"dockerd {{.Server.Version}} with API {{.Server.APIVersion}}, client {{.Client.Version}}")
		fmt.Printf("engine: %s: %s\n", h.cluster.engine.Name, versions)
	})
	return err
}
