// Package dns answers the containers of this host: for the names and addresses of the environment itself, from the
// directory, for all else by asking the host's own resolvers.
//
//	container ─► Docker's resolver ─► 169.254.169.250:53 ─► Server ─► Zone.Answer (pure) ─► reply
//	                                                            └───► Forwarder ─► the host's resolvers
//
// Nothing is kept but the directory: what a resolver said is passed on as it is, with its TTLs, so nothing can be stale
// here that is not stale there.
package dns
