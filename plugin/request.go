package plugin

import (
	"fmt"
	"regexp"

	"github.com/docker/go-plugins-helpers/ipam"
	"github.com/docker/go-plugins-helpers/network"
)

// The types of go-plugins-helpers, with the fields that they lack.
type (
	// networkCapabilities: GwAllocChecker is asked for by engines from 28.0 on; false, since a gateway is always wanted.
	networkCapabilities struct {
		network.CapabilitiesResponse
		GwAllocChecker bool
	}

	// ipamCapabilities: without RequiresRequestReplay a second RequestPool has one meaning, and dockerd's start does not
	// depend on the answers to a replay.
	ipamCapabilities struct {
		ipam.CapabilitiesResponse
		RequiresRequestReplay bool
	}

	// gatewayCheckRequest and gatewayCheckReply are those of NetworkDriver.GwAllocCheck (engines from 28.0 on).
	gatewayCheckRequest struct {
		Options map[string]any
	}
	gatewayCheckReply struct {
		SkipIPv4, SkipIPv6 bool
	}

	// nothing is a reply without fields.
	nothing struct{}
)

// id is the form of Docker's IDs: 64 hex digits, in a Swarm 25 characters of base 36. Names of links and keys are
// derived from them, so nothing else gets in.
var id = regexp.MustCompile(`^[0-9A-Za-z]{1,128}$`)

// checkID refuses a request without the ID that field carries.
func checkID(field, value string) error {
	if value == "" {
		return fmt.Errorf("%s is missing in the request", field)
	}
	if !id.MatchString(value) {
		return fmt.Errorf("%s %.80q is not one of Docker's IDs", field, value)
	}
	return nil
}

// checkIDs is checkID for the two IDs of an endpoint's calls.
func checkIDs(networkID, endpointID string) error {
	if err := checkID("NetworkID", networkID); err != nil {
		return err
	}
	return checkID("EndpointID", endpointID)
}

// required refuses an empty field.
func required(field, value string) error {
	if value == "" {
		return fmt.Errorf("%s is missing in the request", field)
	}
	return nil
}
