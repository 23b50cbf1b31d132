package store

import "fmt"

// An etcd of the operator's own can hold hosts to the same as the gate of the embedded one, by etcd's users and roles: the
// common name of a host's certificate is its host ID, which etcd takes for the user's name. EtcdRoles and EtcdUser give the
// commands for `etcdctl`, one a line, without its connection flags.

// EtcdRoles makes the roles of an environment: what every host may do, and what the holder of the authority's key.
func EtcdRoles(environment string) []string {
	all, held := hostsRole(environment), authorityRole(environment)
	lines := []string{"role add " + all, grant(all, "read", "", environment)}
	for _, kind := range []string{kindNetwork, kindBlock, kindStatic, kindRouter} {
		lines = append(lines, grant(all, "readwrite", kind+"/", environment))
	}
	return append(lines, "role add "+held, grant(held, "readwrite", "", environment))
}

// EtcdUser lets a host in, which writes only what is its own and what all share. authority: it holds the authority's key, by
// which it also writes revocations and certificates, and deletes what removed hosts have left.
func EtcdUser(environment, host string, authority bool) []string {
	own := ownRole(environment, host)
	lines := []string{"role add " + own}
	for _, key := range []string{kindHost, kindAlive} {
		lines = append(lines, fmt.Sprintf("role grant-permission %s readwrite %s%s/%s", own, Prefix(environment), key, host))
	}
	for _, kind := range []string{kindEndpoint, kindReleased} {
		lines = append(lines, grant(own, "readwrite", kind+"/"+host+"/", environment))
	}
	lines = append(lines, "user add "+host+" --no-password", "user grant-role "+host+" "+hostsRole(environment), "user grant-role "+host+" "+own)
	if authority {
		lines = append(lines, "user grant-role "+host+" "+authorityRole(environment))
	}
	return lines
}

// EtcdUserEnd shuts a removed host out.
func EtcdUserEnd(environment, host string) []string {
	return []string{"user delete " + host, "role delete " + ownRole(environment, host)}
}

func grant(role, what, below, environment string) string {
	return fmt.Sprintf("role grant-permission --prefix=true %s %s %s%s", role, what, Prefix(environment), below)
}

func hostsRole(environment string) string     { return "meshsec-" + environment }
func authorityRole(environment string) string { return "meshsec-" + environment + "-authority" }
func ownRole(environment, host string) string { return "meshsec-" + environment + "-" + host }
