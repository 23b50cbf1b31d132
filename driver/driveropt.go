package driver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// dockerPrefix starts the keys that Docker itself passes with an endpoint, among them what users give with their names.
const dockerPrefix = "com.docker.network."

// refusedOptions are those of Docker's endpoint options that would have no effect, with the reason. All others that bear
// Docker's prefix are let through: ports, MAC address and DNS servers are told in other ways, too; sysctls
// (com.docker.network.endpoint.sysctls) Docker sets itself.
var refusedOptions = map[string]string{
	"com.docker.network.endpoint.ifname": "Docker names the interfaces of plugin drivers itself: eth and a number",
	"com.docker.network.driver.mtu":      "the MTU is the network's: docker network create -o com.docker.network.driver.mtu=BYTES",
	"com.docker.network.bridge.":         "it is one of Docker's bridge driver",
}

// checkEndpointOptions refuses what a user gave for this endpoint (--network name=…,driver-opt=KEY=VALUE, or --driver-opt of
// network connect) and would have no effect.
func checkEndpointOptions(options map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(options)) {
		for refused, why := range refusedOptions {
			if key == refused || strings.HasSuffix(refused, ".") && strings.HasPrefix(key, refused) {
				return fmt.Errorf("driver option %s can't be honoured: %s; leave it out", key, why)
			}
		}
		if !strings.HasPrefix(key, dockerPrefix) {
			return fmt.Errorf("driver option %s is not known; endpoints of meshsec have none", key)
		}
	}
	return nil
}
