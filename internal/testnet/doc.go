// Package testnet makes test hosts out of namespaces, with a real dockerd in each where asked, joined by an underlay.
//
//	        underlay (own network namespace, bridge br0; leak.Watch listens here)
//	   h1 ┌──────────────┬──────────────┬──────────────┐ outside
//	      │ eth0         │ eth0         │ eth0         │ eth0
//	┌─────┴─────┐  ┌─────┴─────┐  ┌─────┴─────┐  ┌─────┴─────┐
//	│ h1        │  │ h2        │  │ h3        │  │ outside   │
//	│172.30.0.1 │  │172.30.0.2 │  │172.30.0.3 │  │172.30.0.254, 203.0.113.1
//	└───────────┘  └───────────┘  └───────────┘  └───────────┘
//
// AddNAT and AddCarrier make routers that translate addresses in different ways, with hosts behind them:
//
//	underlay ── NAT ── hosts
//	        └── carrier's NAT ── NAT ── hosts
//
// A host has its own network, mount, UTS and process namespaces, a private shared /run, and its Docker data in memory. Its
// first process ends when the pipe from this program closes, and the kernel then ends everything else in it: so a
// panic, a Ctrl-C or a kill -9 of a test leaves no process, mount, namespace or link behind. What is left on disk
// (an empty directory, empty control groups) is removed by Close, or by the next run.
//
// Everything needs root. Nothing is ever sent beyond the namespaces made here, and a dockerd of the machine is neither
// asked nor touched.
package testnet
