package store

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// EtcdPorts are the TCP ports of a member of the embedded etcd: of its clients, and of the other members.
type EtcdPorts struct {
	Client uint16 `json:"client"`
	Peer   uint16 `json:"peer"`
}

// Member is one server of the embedded etcd.
type Member struct {
	Host string `json:"host"` // ID
	// Learner says that it has no vote yet: it copies what the others have.
	Learner bool `json:"learner,omitempty"`
	// Down is since when the leading member has not heard from it; zero: it answers.
	Down time.Time `json:"down,omitzero"`
}

// memberList is the fact `members`. The leading member writes it after etcd's own list, which decides.
type memberList struct {
	V       int      `json:"v"`
	Members []Member `json:"members"`
}

// maxMembers bounds the list: five with a vote, and those that are on their way in or out.
const maxMembers = 16

func (m *memberList) check() error {
	errs := []error{checkVersion(m.V)}
	if len(m.Members) > maxMembers {
		errs = append(errs, fmt.Errorf("%d members, more than %d", len(m.Members), maxMembers))
	}
	for i, member := range m.Members {
		errs = append(errs, CheckHostID(member.Host))
		if i > 0 && m.Members[i-1].Host >= member.Host {
			errs = append(errs, errors.New("members that are not sorted by host"))
		}
	}
	return errors.Join(errs...)
}

// IsMember says whether a host is a member of the embedded etcd, be it a learner.
func (s *Snapshot) IsMember(host string) bool {
	return slices.ContainsFunc(s.Members, func(m Member) bool { return m.Host == host })
}

// MemberURLs are the URLs for clients of all members that have a vote. The addresses are those in the hosts' own facts.
func (s *Snapshot) MemberURLs() []string {
	var urls []string
	for _, m := range s.Members {
		if h, ok := s.Hosts[m.Host]; ok && !m.Learner && h.Etcd.Client != 0 {
			for _, a := range h.Addrs {
				u := serverURL(a, int(h.Etcd.Client))
				urls = append(urls, u.String())
			}
		}
	}
	return urls
}

// Spare is how many members may be lost at once without etcd stopping: of those with a vote more than half must be up. Negative:
// it has stopped.
func Spare(members []Member) int {
	voters, up := 0, 0
	for _, m := range members {
		if !m.Learner {
			voters++
			if m.Down.IsZero() {
				up++
			}
		}
	}
	return up - (voters/2 + 1)
}

// wide are the architectures with words of 64 bits, as Go calls them: etcd supports no others.
var wide = []string{"amd64", "arm64", "loong64", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x"}

// CanServe says whether a host of this architecture can run a member of the embedded etcd.
func CanServe(arch string) bool { return slices.Contains(wide, arch) }

// suitable are the hosts that could be members, the oldest first: those that say so themselves, because others see them at their
// own addresses, and that were not removed.
func (s *Snapshot) suitable() []Host {
	var list []Host
	for id, h := range s.Hosts {
		if _, out := s.Revoked[id]; !out && h.Etcd.Client != 0 && h.Etcd.Peer != 0 && len(h.Addrs) > 0 && CanServe(h.Arch) {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b Host) int { return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.ID, b.ID)) })
	return list
}

// Reserves is how many hosts could become members of the embedded etcd and are none.
func (s *Snapshot) Reserves() int {
	n := 0
	for _, h := range s.suitable() {
		if s.Alive[h.ID] && !s.IsMember(h.ID) {
			n++
		}
	}
	return n
}

// peerURL is where other members reach the host's.
func (h Host) peerURL() string {
	u := serverURL(addrOf(h), int(h.Etcd.Peer))
	return u.String()
}

func addrOf(h Host) netip.Addr {
	if len(h.Addrs) == 0 {
		return netip.Addr{}
	}
	return h.Addrs[0]
}

// peers are the members, and those of them who are not to be talked to any more: hosts that were removed, as soon as the others are a
// quorum without them, for else they could not even be removed from the members.
func (s *Snapshot) peers() (in, out []string) {
	voters, good := 0, 0
	for _, m := range s.Members {
		in = append(in, m.Host)
		_, gone := s.Revoked[m.Host]
		if gone {
			out = append(out, m.Host)
		}
		if !m.Learner {
			voters++
			if !gone && m.Down.IsZero() {
				good++
			}
		}
	}
	if good < voters/2+1 {
		out = nil
	}
	return in, out
}

// quorumWithout says whether the other members are enough to decide, by what the leading one last saw of them.
func (s *Snapshot) quorumWithout(host string) bool {
	voters, good := 0, 0
	for _, m := range s.Members {
		if m.Learner {
			continue
		}
		voters++
		if _, gone := s.Revoked[m.Host]; m.Host != host && !gone && m.Down.IsZero() {
			good++
		}
	}
	return voters > 0 && good >= voters/2+1
}
