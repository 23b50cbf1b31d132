package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/engine"
)

// changing is a project with a fixed address and an alias. The network's label is what changes.
const changing = `
name: changing
services:
  db:
    image: busybox
    command: busybox httpd -f -p 80
    init: true
    networks:
      shop:
        ipv4_address: 10.60.0.9
        aliases: [store]
%s  web:
    image: busybox
    command: busybox httpd -f -p 80
    init: true
    networks: [shop]
networks:
  shop:
    driver: meshsec
    labels: {step: "%d"}
    ipam:
      driver: meshsec
      config:
        - subnet: 10.60.0.0/24
`

// TestComposeNetworkChanged: after a change of a network's label, Compose 5 makes the network anew and connects the containers
// to it. They have their fixed addresses, names of interfaces and aliases again after --force-recreate.
func TestComposeNetworkChanged(t *testing.T) {
	s := shared(t)
	h := s.Hosts[0]
	if !speaks(t, h, engine.NamesInterfaces) {
		t.Skip("this engine's Compose is 1.29, which does not make changed networks anew")
	}
	example(t, "compose-own.yaml", h) // for its image
	file := filepath.Join(t.TempDir(), "changing.yaml")
	p := newProject(t, h, file)
	write := func(step int) {
		t.Helper()
		if err := os.WriteFile(file, fmt.Appendf(nil, changing, "        interface_name: shop0\n", step), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func() error {
		out, err := p.exec(t.Context(), "db", "ip", "-o", "-4", "addr", "show", "shop0")
		if err == nil && !strings.Contains(out, "10.60.0.9/24") {
			err = errors.New(out)
		}
		if err == nil {
			_, err = p.exec(t.Context(), "web", "ping", "-c1", "-W2", "store")
		}
		return err
	}
	write(1)
	p.run(t.Context(), t, "up", "-d")
	eventually(t, "the address and the alias", check)
	write(2)
	p.run(t.Context(), t, "up", "-d", "-t", "0")
	if err := check(); err == nil {
		t.Error("after `up` alone the address and the alias are there: docs/docker.md says otherwise")
	}
	p.run(t.Context(), t, "up", "-d", "-t", "0", "--force-recreate")
	eventually(t, "the address and the alias after --force-recreate", check)
}
