// Package link is this host's links, addresses, routes and namespaces, and the packet filters around them. It puts into
// the kernel what it is told and knows nothing of Docker, etcd or encryption.
//
// There are two network namespaces. The host's is the one that the process lives in. The router's is made here and
// outlives the process: it holds a bridge per network, one end of every container's veth pair, the router address and
// the routes to the other hosts' endpoints. No link and no route leads from the router to the host.
//
//	 container         container
//	   eth0              eth0            "ms…" until Docker moves and renames it
//	───│─────────────────│────────────────────────── router namespace (RunDir/router)
//	  mv…               mv…
//	   └── br-<network> ─┘  gateway address, proxy ARP for the routed addresses
//	          │ forwarding, nftables table meshsec: one network only
//	        mesh0           /32 routes of protocol 109
//	────────│────────────────────────────────────────
//	     data plane         host namespace: nftables table meshsec drops the pools' addresses
//
// Every Set function is handed the whole wanted state. It lists what is there, changes the difference, goes on after a
// failing item and returns all failures joined. It touches only what bears a mark of marks.go. The same call twice is
// no work, but it does repair what somebody else has changed in between. All functions may be called concurrently.
package link
