package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// maxLearners is how many learners there may be at once. They get their votes in pairs, for an even number of members survives no more
// losses than the odd one below.
const maxLearners = 2

// peers are who may come in at the door.
type peers struct {
	in, out map[string]bool
}

// SetPeers says which hosts are members by the facts, and which of them are to be kept out because they were removed. Those that
// etcd's own data names are members as well.
func (e *Embedded) SetPeers(in, out []string) {
	p := &peers{map[string]bool{}, map[string]bool{}}
	for _, host := range in {
		p.in[host] = true
	}
	for _, host := range out {
		p.out[host] = true
	}
	e.peers.Store(p)
	if s := e.now.Load(); s != nil {
		s.door.review()
	}
}

func (e *Embedded) mayEnter(host string) bool {
	p := e.peers.Load()
	if p != nil && p.out[host] {
		return false
	}
	if p != nil && p.in[host] {
		return true
	}
	s := e.now.Load()
	return s != nil && slices.ContainsFunc(s.etcd.Server.Cluster().Members(), func(m *membership.Member) bool { return m.Name == host })
}

// HasData says whether the folder holds the data of a member.
func HasData(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "member", "wal"))
	return err == nil
}

// SetAside takes a member's data away: it is not to be a member any more. An earlier such folder is overwritten, if there is data.
func SetAside(dir string) error {
	left := dir + ".left"
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := os.RemoveAll(left); err != nil {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	if err := os.Rename(dir, left); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	return nil
}

// Serving says whether the server runs, has a vote and knows a leader: whether clients are answered.
func (e *Embedded) Serving() bool {
	s := e.now.Load()
	if s == nil || s.bridge.worst() != "" || s.etcd.Server.Leader() == 0 {
		return false
	}
	me := s.me()
	return me != nil && !me.IsLearner
}

// Leads says whether this member is the one that decides.
func (e *Embedded) Leads() bool {
	s := e.now.Load()
	return s != nil && s.bridge.worst() == "" && s.etcd.Server.Leader() == s.etcd.Server.MemberID()
}

// Expelled says whether the server has seen itself being removed from the members.
func (e *Embedded) Expelled() bool {
	s := e.now.Load()
	return s != nil && s.me() == nil
}

// Broken says whether the server has met an error that it can't end from, such as data older than what the other members know it to
// have. What it holds is free only when the process ends.
func (e *Embedded) Broken() bool {
	s := e.now.Load()
	return s != nil && s.bridge.worst() != ""
}

// Failed says why the server has ended by itself; empty: it runs, or was never started.
func (e *Embedded) Failed() string {
	s := e.now.Load()
	if s == nil {
		return ""
	}
	if worst := s.bridge.worst(); worst != "" {
		return worst
	}
	select {
	case <-s.etcd.Server.StopNotify():
		return "it has stopped by itself"
	default:
		return ""
	}
}

// self is etcd's number of this member.
func (s *serving) self() uint64 { return uint64(s.etcd.Server.MemberID()) }

// me is this member in etcd's own list; nil: it is in it no more.
func (s *serving) me() *membership.Member {
	return s.etcd.Server.Cluster().Member(s.etcd.Server.MemberID())
}

// members is etcd's own list.
func (s *serving) members() []*membership.Member { return s.etcd.Server.Cluster().Members() }

// addLearner lets etcd expect a further member at a URL.
func (s *serving) addLearner(ctx context.Context, peerURL string) error {
	urls, err := types.NewURLs([]string{peerURL})
	if err != nil {
		return err
	}
	now := time.Now()
	_, err = s.etcd.Server.AddMember(ctx, *membership.NewMemberAsLearner("", urls, "", &now))
	return err
}

// readdress tells etcd where members are now, by their hosts' facts. One that can't be told, for another member has the address or
// says so, does not hold up the others.
func (s *serving) readdress(ctx context.Context, snap *Snapshot, members []*membership.Member) error {
	var errs []error
	for _, m := range members {
		h, ok := snap.Hosts[m.Name]
		if !ok || h.Etcd.Peer == 0 || len(h.Addrs) == 0 || slices.Contains(m.PeerURLs, h.peerURL()) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		moved := membership.Member{ID: m.ID, RaftAttributes: membership.RaftAttributes{PeerURLs: []string{h.peerURL()}, IsLearner: m.IsLearner}}
		if _, err := s.etcd.Server.UpdateMember(ctx, moved); err != nil {
			errs = append(errs, fmt.Errorf("address of member %s: %w", snap.HostName(m.Name), err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

// put writes past the gate, for no host may write what the leading member says.
func (s *serving) put(ctx context.Context, key, value string) error {
	client := v3client.New(s.etcd.Server)
	defer client.Close()
	_, err := client.Put(ctx, key, value)
	return err
}

// JoinAs gives what EmbedConfig.Join needs for this host to become the member that the others expect at a URL. It is an error if they
// do not, or if a server has been that member before: to come back without its data would break what it has promised to the others.
func (s *Store) JoinAs(ctx context.Context, self Host) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := s.client.MemberList(ctx)
	if err != nil {
		return "", s.unreachable(plainCause(err))
	}
	var parts []string
	expected := false
	for _, m := range list.Members {
		name := m.Name
		for _, u := range m.PeerURLs {
			if u == self.peerURL() {
				if name != "" {
					return "", errors.New("embedded etcd: this host was a member, and its data is gone: it waits until it was replaced")
				}
				name, expected = self.ID, true
			}
		}
		if name == "" {
			name = fmt.Sprintf("%x", m.ID)
		}
		for _, u := range m.PeerURLs {
			parts = append(parts, name+"="+u)
		}
	}
	if !expected {
		return "", errors.New("embedded etcd: the other members do not expect this host yet")
	}
	return strings.Join(parts, ","), nil
}
