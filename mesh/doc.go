// Package mesh turns the facts into what this host must carry, and sees to it that the host carries it.
//
// Compute is a pure function from the snapshot of the environment and this host's own holdings to a Desired value. The
// Reconciler is the one loop that hands that value on, again and again:
//
//	store changed ──────┐
//	checkpoint changed ─┼─► Compute(snapshot, local) ─► guard ► filter ► bridges ► ports ► data plane ► announcements
//	every 60 s ─────────┘                    │               │ error: again, with back-off
//	handshake: Rekey ────────────────────────┴── last Desired + its SAs ─► data plane
//
// It knows no data plane's implementation, no Docker and no etcd.
package mesh
