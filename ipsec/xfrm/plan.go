package xfrm

import (
	"cmp"
	"maps"
	"slices"
)

// plan gives the steps that lead from have to want. It is pure; equal arguments give equal plans, and plan(want, want) is
// only the routes, whose difference the router works out by itself.
//
// The order is what keeps two promises after every single step: a packet that is routed into a device is sealed for the
// device's own peer or dropped, and a peer that could be reached before and shall be reached afterwards can be reached
// throughout:
//
//  1. strays, and devices with a foreign if_id, go before anything else could use it
//  2. devices, before anything with their if_id: only by making one does the kernel tell whether the if_id is free, also
//     in namespaces that can't be listed, and what is somebody else's must not meet our policies. No route leads into a
//     new device, and without a policy it drops
//  3. new SAs, so that a policy never names one that is missing
//  4. policies: in and fwd before out
//  5. routes, into devices that are up; routes of gone peers go with this step, before their devices do
//  6. what is not wanted any more: devices, then policies, then SAs
func plan(want, have world) []step {
	var steps []step
	for _, name := range slices.Sorted(maps.Keys(have.Strays)) {
		steps = append(steps, step{Verb: delStray, Device: have.Strays[name]})
	}
	stale := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(have.Devices)) {
		w, wanted := want.Devices[name]
		if h := have.Devices[name]; wanted && w.IfID != h.IfID {
			steps = append(steps, step{Verb: delDevice, Device: h})
			stale[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.Devices)) {
		w := want.Devices[name]
		h, there := have.Devices[name]
		switch {
		case !there || stale[name]:
			steps = append(steps, step{Verb: addDevice, Device: w})
		case h != w:
			steps = append(steps, step{Verb: setDevice, Device: w})
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(want.States), stateKey.compare) {
		h, there := have.States[k]
		if there && h != want.States[k] {
			// Ours by its if_id, but another SA: the two can't both be, and what is there can't be used.
			steps = append(steps, step{Verb: delState, StateKey: k, State: h})
			there = false
		}
		if !there {
			steps = append(steps, step{Verb: addState, StateKey: k, State: want.States[k]})
		}
	}
	inFirst := func(a, b policyKey) int {
		return cmp.Or(cmp.Compare(rank(a.Dir), rank(b.Dir)), a.compare(b))
	}
	for _, k := range slices.SortedFunc(maps.Keys(want.Policies), inFirst) {
		if h, there := have.Policies[k]; !there || h != want.Policies[k] {
			steps = append(steps, step{Verb: setPolicy, Key: k, Policy: want.Policies[k]})
		}
	}
	steps = append(steps, step{Verb: setRoutes})
	return append(steps, remove(want, have)...)
}

// rank puts out last: sealing begins when the answers can be opened.
func rank(d direction) int {
	if d == out {
		return 1
	}
	return 0
}

// remove gives the steps that take away what is not wanted.
func remove(want, have world) []step {
	var steps []step
	for _, name := range slices.Sorted(maps.Keys(have.Devices)) {
		if _, wanted := want.Devices[name]; !wanted {
			steps = append(steps, step{Verb: delDevice, Device: have.Devices[name]})
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(have.Policies), policyKey.compare) {
		if _, wanted := want.Policies[k]; !wanted {
			steps = append(steps, step{Verb: delPolicy, Key: k, Policy: have.Policies[k]})
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(have.States), stateKey.compare) {
		if _, wanted := want.States[k]; !wanted {
			steps = append(steps, step{Verb: delState, StateKey: k, State: have.States[k]})
		}
	}
	return steps
}
