package link

import (
	"fmt"

	"github.com/google/nftables"
)

// dockerTable is the table that dockerd writes with its nftables backend (moby, libnetwork/drivers/bridge/internal/nftabler).
const dockerTable = "docker-bridges"

// ForwardDropped reports whether iptables' FORWARD chain drops by its policy the packets that Docker's nftables tables accept.
// A dockerd that ran with iptables sets that policy, and one that runs with nftables lets it stand. The iptables that keeps
// rules outside of nftables (iptables-legacy) is not seen.
func (r *Router) ForwardDropped() (bool, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(r.hostNS)))
	if err != nil {
		return false, fmt.Errorf("nftables: %w", err)
	}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, fmt.Errorf("nftables: list chains: %w", err)
	}
	docker, drops := false, false
	for _, c := range chains {
		docker = docker || c.Table.Name == dockerTable
		drops = drops || c.Table.Name == "filter" && c.Name == "FORWARD" && c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop
	}
	return docker && drops, nil
}
