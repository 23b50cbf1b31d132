// Package directory is who is where in the environment, by name and by address: what DNS and metadata answer from. A
// Directory is an immutable value made from the facts; the next one shares with it all that has not changed, so that a
// fact more or less costs the same in an environment of fifty thousand names as in one of fifty.
//
//	facts ─► Next ─► Directory ─► Board ─► who asks: Asker ─► Find, At, Endpoints: only what is on the asker's networks
//
// Only endpoints that are routed are in it (mesh.Compute has the same rules): under a claim of their own host, inside
// their network's pool.
package directory
