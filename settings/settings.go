// Package settings reads what an operator may set: from flags, the environment and a file, in this order of precedence.
// Every setting has its default here, because an upgraded plugin gets no value for a setting that its old version did
// not have. Unknown names are refused with the list of known ones.
package settings

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Prefix stands before a setting's name in the environment of an agent that runs outside Docker.
const Prefix = "MESHSEC_"

// Setting is one thing that an operator may set.
type Setting struct {
	Name    string
	Default string
	// Help is one line for `meshsec agent --help` and docs/settings.md.
	Help string
	// File says that the value may be, or is, a file's path on the host.
	File bool
}

// All are the settings, in the order in which they are documented.
var All = []Setting{
	{"ENVIRONMENT", "default", "name of the environment: the set of hosts that share networks", false},
	{"JOIN", "", "token printed by `meshsec token` on a host of the environment, or a file that holds it; empty: this host founds the environment", true},
	{"ETCD", "", "endpoints of an etcd cluster, comma-separated; empty: the embedded etcd", false},
	{"ETCD_CA", "", "file with the certificate authority of that cluster", true},
	{"ETCD_CERT", "", "file with this client's certificate for that cluster", true},
	{"ETCD_KEY", "", "file with this client's key for that cluster", true},
	{"ETCD_PORT", "2379", "port of the embedded etcd for clients", false},
	{"ETCD_PEER_PORT", "2380", "port of the embedded etcd for its members", false},
	{"ETCD_MEMBERS", "3", "how many hosts the embedded etcd is to run on, where there are so many: 1, 3 or 5; the same on all hosts", false},
	{"ROUTERS", "100.127.0.0/16", "router addresses: one for each host, never from a pool", false},
	{"POOLS", DefaultPools, "pools of networks made without --subnet, the first one for `default`", false},
	{"ADVERTISE", "", "where other hosts find this one: address, interface or CIDR, or address:port of a NAT that forwards to it, comma-separated; empty: the address of the default route", false},
	{"PORT", "4500", "UDP port of handshake and ESP", false},
	{"ENCAP", "udp", "how ESP crosses the underlay: udp, or esp (IP protocol 50, no NAT on the path) towards hosts that have it, too", false},
	{"DATAPLANE", "auto", "kernel, userspace, or auto: the kernel's where all of it works, else userspace", false},
	{"SCOPE", "local", "scope of the network driver: local, or global: in a Swarm its leader chooses all addresses, the same on all hosts", false},
	{"PPK", "", "additional pre-shared key of the environment, mixed into every key: a file that only root reads, or 64 hex digits (`openssl rand -hex 32`); empty: none", true},
	{"PPK_OLD", "", "a second PPK that is accepted while PPK is being changed on all hosts, or `none`: hosts without one are accepted", true},
	{"HOST_ID", "", "this host's ID, 16 hex digits; empty: from the checkpoint or the token", false},
	{"HOST_NAME", "", "this host's name in the environment; empty: the host's own name", false},
	{"HOST_GRACE", "24h", "how long a host may be gone, from etcd and from its tunnel, before its routes are withdrawn and its names not answered; 1m or more", false},
	{"SERVICES", "dns,metadata", "what this host serves its containers at 169.254.169.250: dns, metadata; off turns both off", false},
	{"DOMAIN", "meshsec.internal", "domain of the names of containers and hosts", false},
	{"METADATA_TOKEN", TokenOptional, "optional, or required: containers must show a token to ask for metadata", false},
	{"LOG_LEVEL", "info", "error, warn, info, debug or trace", false},
	{"LOG_FORMAT", "text", "text or json", false},
	{"LISTEN", "127.0.0.1:9450", "address of /metrics, /healthz and /readyz; off turns it off", false},
}

// DefaultPools is the default of POOLS: ten /16 from 10.42.0.0 on.
const DefaultPools = "10.42.0.0/16,10.43.0.0/16,10.44.0.0/16,10.45.0.0/16,10.46.0.0/16," +
	"10.47.0.0/16,10.48.0.0/16,10.49.0.0/16,10.50.0.0/16,10.51.0.0/16"

// Values are settings as they were given, by name, defaults filled in.
type Values map[string]string

// Known gives the names of all settings, comma-separated.
func Known() string {
	names := make([]string, len(All))
	for i, s := range All {
		names[i] = s.Name
	}
	return strings.Join(names, ", ")
}

// Flag gives the command line's name of a setting: LOG_LEVEL is --log-level.
func (s Setting) Flag() string { return strings.ReplaceAll(strings.ToLower(s.Name), "_", "-") }

func known(name string) bool {
	return slices.ContainsFunc(All, func(s Setting) bool { return s.Name == name })
}

// Gather merges the sources: flags over env over file over defaults. An empty value in env or file counts as unset,
// since Docker hands a plugin every setting, set or not. env is in the form of os.Environ. With plain, env names carry
// no prefix and foreign names are none of ours; a name with Prefix that is not a setting is an error in both cases.
func Gather(flags map[string]string, env []string, file string, plain bool) (Values, error) {
	v := Values{}
	for _, s := range All {
		v[s.Name] = s.Default
	}
	var errs []error
	take := func(source, name, value string) {
		if !known(name) {
			errs = append(errs, fmt.Errorf("unknown setting %s in %s; known are %s", name, source, Known()))
			return
		}
		if value != "" {
			v[name] = value
		}
	}
	fromFile, err := readFile(file)
	errs = append(errs, err)
	for _, kv := range fromFile {
		take(file, kv[0], kv[1])
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if trimmed, ok := strings.CutPrefix(name, Prefix); ok {
			take("the environment", trimmed, value)
		} else if plain && known(name) {
			take("the environment", name, value)
		}
	}
	// A flag that was given counts even when empty: --listen= turns the listener off.
	for name, value := range flags {
		take("the command line", name, value)
		if value == "" && known(name) {
			v[name] = ""
		}
	}
	return v, errors.Join(errs...)
}

// Off is the value that turns off a setting that has a default, where an empty value can't be told from none.
const Off = "off"

// GlobalScope is the value of SCOPE with which a Swarm's leader chooses all addresses.
const GlobalScope = "global"

func readFile(path string) ([][2]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("settings file: %w", err)
	}
	defer f.Close()
	var kvs [][2]string
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("settings file %s, line %d: want NAME=value, got %q", path, n, line)
		}
		name = strings.TrimPrefix(strings.TrimSpace(name), Prefix)
		kvs = append(kvs, [2]string{name, strings.Trim(strings.TrimSpace(value), `"`)})
	}
	return kvs, sc.Err()
}
