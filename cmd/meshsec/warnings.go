package main

import (
	"fmt"
	"time"

	"github.com/meshsec/meshsec/store"
)

// renewSoon is how long before a certificate's end it is a problem that nobody can renew it.
const renewSoon = 30 * 24 * time.Hour

// warnings are what an operator should do some time, problems what can't wait any longer, about the authority.
func warnings(id store.Identity, snap *store.Snapshot, now time.Time) (warnings, problems []string) {
	warnings = []string{}
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if !id.CAKey.Empty() && !id.Imported && id.Exported.IsZero() {
		warn("the key of the certificate authority is on this host only; were its disk lost, no host could join or be removed: meshsec ca export FILE")
	}
	if late, replaced := store.Replaced(id, snap); replaced && len(late) > 0 {
		warn("the certificate authority is being replaced; hosts without a certificate of the new one yet: %s", names(late))
	} else if replaced {
		warn("the certificate authority was replaced, and every host has a certificate of the new one: end the old one by meshsec ca retire")
	}
	if why := id.Outdated(); why != "" {
		problems = append(problems, why)
	}
	held := !id.CAKey.Empty()
	for _, h := range snap.Hosts {
		held = held || h.Authority
	}
	if _, known := snap.Hosts[id.HostID]; held || !known {
		return warnings, problems
	}
	host, ends := store.FirstEnd(snap)
	text := fmt.Sprintf("no host holds the key of the certificate authority; certificates must be renewed by %s, that of host %s first: meshsec ca renew --ca-key FILE",
		ends.UTC().Format(time.DateOnly), snap.HostName(host))
	if ends.Sub(now) < renewSoon {
		return warnings, append(problems, text)
	}
	warn("%s", text)
	return warnings, problems
}

// names lists a few of the names, and how many more there are.
func names(all []string) string {
	const few = 5
	text := ""
	for i, name := range all {
		switch {
		case i == few:
			return fmt.Sprintf("%s and %d more", text, len(all)-few)
		case i > 0:
			text += ", "
		}
		text += name
	}
	return text
}
