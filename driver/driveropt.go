package driver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// dockerPrefix starts the keys that Docker itself passes with an endpoint, among them what users give with their names.
const dockerPrefix = "com.docker.network."

// optionIfName asks for a name of the endpoint's interface in the container. The engine's own drivers
// read it themselves; a plugin's name it in the answer to Join.
const optionIfName = "com.docker.network.endpoint.ifname"

// refusedOptions are those of Docker's endpoint options that would have no effect, with the reason. All others that bear
// Docker's prefix are let through: ports, MAC address and DNS servers are told in other ways, too; sysctls
// (com.docker.network.endpoint.sysctls) Docker sets itself.
var refusedOptions = map[string]string{
	"com.docker.network.driver.mtu": "the MTU is the network's: docker network create -o com.docker.network.driver.mtu=BYTES",
	"com.docker.network.bridge.":    "it is one of Docker's bridge driver",
}

// checkEndpointOptions refuses what a user gave for this endpoint (--network name=…,driver-opt=KEY=VALUE, or --driver-opt of
// network connect) and would have no effect. It returns the interface name that was asked for, if any.
func checkEndpointOptions(options map[string]any) (ifName string, err error) {
	for _, key := range slices.Sorted(maps.Keys(options)) {
		for refused, why := range refusedOptions {
			if key == refused || strings.HasSuffix(refused, ".") && strings.HasPrefix(key, refused) {
				return "", dishonoured(key, errors.New(why))
			}
		}
		if !strings.HasPrefix(key, dockerPrefix) {
			return "", fmt.Errorf("driver option %s is not known; endpoints of meshsec have none", key)
		}
	}
	value, given := options[optionIfName]
	if !given || value == "" {
		return "", nil
	}
	ifName, _ = value.(string)
	if !validIfName(ifName) {
		return "", fmt.Errorf("driver option %s: %q can't be an interface's name in a container: it takes 1 to %d printable ASCII characters "+
			"without spaces, '/', ':' and '%%', and not %s", optionIfName, fmt.Sprint(value), maxIfName, strings.Join(reservedIfNames, ", "))
	}
	return ifName, nil
}

// dishonoured is the error of an option that would have no effect.
func dishonoured(option string, why error) error {
	return fmt.Errorf("driver option %s can't be honoured: %w; leave it out", option, why)
}

// maxIfName is the longest name of a Linux interface, in bytes (IFNAMSIZ without its final zero).
const maxIfName = 15

// reservedIfNames can be no interface's name: the kernel has folders of these names among the
// interfaces', or a loopback device.
var reservedIfNames = []string{".", "..", "lo", "all", "default"}

// validIfName reports whether the kernel takes a name as it is (net/core/dev.c, dev_valid_name). It
// would make another one of a name with a percent sign, and Docker not find that again.
func validIfName(name string) bool {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/:%", r) }
	return name != "" && len(name) <= maxIfName && !strings.ContainsFunc(name, odd) && !slices.Contains(reservedIfNames, name)
}
