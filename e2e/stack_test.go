package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/internal/testnet"
)

// TestStack: a stack's services have tasks in the network, found by `tasks.` names, also by a container of a host that is not in the
// Swarm. They are known by service and stack, and leave nothing.
func TestStack(t *testing.T) {
	s := own(t, 2)
	ctx := t.Context()
	if err := s.joinAll(ctx); err != nil {
		t.Fatal(err)
	}
	const driver, swarm = testnet.Plugin + ":latest", "swarm"
	node, other := s.Hosts[0], s.Hosts[1]
	docker(t, node, []string{"swarm", "init", "--advertise-addr", node.Addr.String()},
		[]string{"network", "create", "--config-only", "--ipam-driver", driver, "--ipam-opt", "meshsec.network=swarm", "swarm-config"},
		[]string{"network", "create", "-d", driver, "--scope", "swarm", "--config-from", "swarm-config", swarm})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanup)
		defer cancel()
		if _, err := node.Docker(ctx, "swarm", "leave", "--force"); err != nil {
			t.Error(err)
		}
	})
	network(t, other, swarm, "--ipam-opt", "meshsec.network=swarm")
	standalone := start(t, other, swarm, "standalone", "--dns", "169.254.169.250")
	eventually(t, "the standalone container on the node", func() error { _, err := known(ctx, node, standalone.Addr); return err })
	before := footprint(t, s)
	docker(t, node, []string{"stack", "deploy", "--resolve-image", "never", "-c", example(t, "stack.yaml", node), "shop"})

	tasks := map[string]control.Endpoint{} // by their services
	eventually(t, "the tasks' descriptions", func() error {
		clear(tasks)
		var all []control.Endpoint
		if err := other.MeshsecJSON(ctx, &all, "endpoints"); err != nil {
			return err
		}
		for _, e := range all {
			if e.Network == swarm && e.Project == "shop" && strings.HasPrefix(e.Name, "shop_"+e.Service+".") && len(e.Labels) == 1 && e.Labels["tier"] != "" {
				tasks[e.Service] = e
			}
		}
		if len(tasks) != 2 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	for _, name := range []string{"tasks.web", "tasks.client", "shop_web"} {
		eventually(t, "a standalone container pings "+name, func() error {
			_, err := standalone.Exec(ctx, "ping", "-c1", "-W1", name)
			return err
		})
	}
	eventually(t, "a task pings the other service's", func() error {
		_, err := node.Docker(ctx, "exec", tasks["client"].Name, "ping", "-c1", "-W1", "tasks.web")
		return err
	})
	s.published(t, node)
	docker(t, node, []string{"stack", "rm", "shop"})
	leftNothing(t, s, before)
}
