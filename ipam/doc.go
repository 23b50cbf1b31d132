// Package ipam is the IPAM driver: pools, blocks and addresses.
//
// A pool that Docker asks for is a network of the environment. Its addresses are split in two:
//
//	10.42.0.0/16  ├── static range ──┼──────────── dynamic range, in blocks of /26 ────────────┤
//	              .0.0            .63.255                                               .255.255
//
// It is found by --ipam-opt meshsec.network=NAME, else by --subnet: the network that has exactly this pool, or a new one
// called after it (10.50.0.0-16); else it is `default`. Blocks are /26, in a small pool longer prefixes (layout.go).
//
// A container without a wish gets an address of a block that this host owns, which takes no round trip to etcd. One with
// --ip gets it from an own block, from a block that the host takes for it, or by a claim of that single address in the
// static range. Docker's requests name neither networks nor endpoints, so what ties an address to an endpoint is the pair
// of network and address; the driver's endpoint, in the same checkpoint, is what keeps a lease alive.
//
// All state is in the checkpoint and changes in one step of it: an address is chosen and written under one lock, and
// Docker gets its answer after that. Leases are a set; nothing is counted.
package ipam
