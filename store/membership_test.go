package store

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"

	"github.com/meshsec/meshsec/internal/freeport"
)

// TestTheFoundersHostIsLostForGood: three members come to be by themselves, writes go on without the first, and another host
// takes its place, though nobody holds the authority's key any more. When it is back it is a client.
func TestTheFoundersHostIsLostForGood(t *testing.T) {
	long(t)
	c := newColony(t, 4)
	c.await(t, []int{0, 1, 2}, 0, 1, 2, 3)
	eventually(t, "a certificate for the reserve", func() bool { return c.hosts[3].Server() != nil })
	c.writes(t, 3, 0, 1, 2, 3)
	c.hosts[0].halt()
	c.writes(t, 3, 1, 2, 3)
	c.await(t, []int{1, 2, 3}, 1, 2, 3)
	c.writes(t, 1, 1, 2, 3)

	c.hosts[0].start(t)
	c.await(t, []int{1, 2, 3}, 0)
	eventually(t, "the founder to be a client", func() bool { return !c.hosts[0].group.Here() && !c.hosts[0].cp.Local().Identity.Serves() })
	if HasData(c.hosts[0].cfg.Dir) {
		t.Error("its data is still in place")
	}
	c.writes(t, 0, 0, 1, 2, 3)
}

// TestARemovedMemberIsPutOut: `host rm` ends a host's membership at once, and its certificate as a member is worth nothing any more.
func TestARemovedMemberIsPutOut(t *testing.T) {
	long(t)
	c := newColony(t, 3)
	c.await(t, []int{0, 1, 2}, 0, 1, 2)
	thief := c.hosts[2]
	stolen, err := clientTLS(c.founder.CA, thief.Server(), thief.cp.Local().Identity.Key.Bytes, ServerName)
	if err != nil {
		t.Fatal(err)
	}
	if err := knock(c.hosts[0], stolen); err != nil {
		t.Fatalf("a member is not let in: %v", err)
	}
	ca, err := c.founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.hosts[0].Revoke(callCtx(t), ca, thief.id); err != nil {
		t.Fatal(err)
	}
	c.await(t, []int{0, 1}, 0, 1)
	eventually(t, "the end of its server", func() bool { return !thief.group.Here() && !HasData(thief.cfg.Dir) })
	for _, h := range c.hosts[:2] {
		eventually(t, "a shut door", func() bool { return knock(h, stolen) != nil })
	}
	if !c.hosts[1].Store.cfg.refuse(thief.id) {
		t.Error("its server would be believed")
	}
	c.writes(t, 1, 0, 1)
}

// TestTheDoorIsForMembersOnly: not for hosts, and not for those that have a certificate to become members.
func TestTheDoorIsForMembersOnly(t *testing.T) {
	long(t)
	c := newColony(t, 4)
	c.await(t, []int{0, 1, 2}, 0, 1, 2, 3)
	reserve := c.hosts[3]
	eventually(t, "its certificate", func() bool { return reserve.Server() != nil })
	id := reserve.cp.Local().Identity
	for what, cert := range map[string][]byte{"a host": id.Cert, "a reserve": reserve.Server()} {
		config, err := clientTLS(id.CA, cert, id.Key.Bytes, ServerName)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if knock(c.hosts[i], config) == nil {
				t.Errorf("%s was let in by host%d", what, i)
			}
		}
	}
	// Nor does its host write what the members are, or let itself in.
	ctx := callCtx(t)
	if _, err := reserve.client.Put(ctx, reserve.key(factKey{kind: kindMembers}), `{"v":1}`); !denied(err) {
		t.Errorf("the list of members: %v", err)
	}
	if _, err := reserve.client.MemberAdd(ctx, []string{"https://192.0.2.1:2380"}); !denied(err) {
		t.Errorf("a member more: %v", err)
	}
}

// TestAllMembersStartAgain: they find each other without any of them being there before, and one with new ports.
func TestAllMembersStartAgain(t *testing.T) {
	long(t)
	c := newColony(t, 3)
	c.await(t, []int{0, 1, 2}, 0, 1, 2)
	c.writes(t, 2, 0, 1, 2)
	for _, h := range c.hosts {
		h.saved(t)
		h.halt()
	}
	moved := c.hosts[2]
	moved.cfg.ClientPort, moved.cfg.PeerPort = freeport.Port(t), freeport.Port(t)
	moved.fact.Etcd = EtcdPorts{uint16(moved.cfg.ClientPort), uint16(moved.cfg.PeerPort)}
	for _, i := range []int{2, 0, 1} {
		c.hosts[i].start(t)
	}
	c.writes(t, 1, 0, 1, 2)
	c.await(t, []int{0, 1, 2}, 0, 1, 2)
	for _, h := range c.hosts {
		eventually(t, "the new address", func() bool {
			return slices.ContainsFunc(h.group.now.Load().now.Load().members(), func(m *membership.Member) bool {
				return slices.Contains(m.PeerURLs, "https://"+serverURLHost(moved.cfg.PeerPort))
			})
		})
	}
	c.hosts[0].halt() // so that the other two need each other
	c.writes(t, 1, 1, 2)
}

// TestAMembersDataIsLostOrOld: it does not come back as who it was, but as a new member once it was put out; and one with the data of
// some time ago does no harm.
func TestAMembersDataIsLostOrOld(t *testing.T) {
	long(t)
	c := newColony(t, 3)
	c.await(t, []int{0, 1, 2}, 0, 1, 2)
	lost, old := c.hosts[0], c.hosts[1]
	lost.saved(t)
	lost.halt()
	if err := os.RemoveAll(lost.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	lost.start(t)
	eventually(t, "its word that its data is gone", func() bool { return strings.Contains(lost.group.Problem(), "its data is gone") })
	c.writes(t, 0, 0, 1, 2)
	lost.returns(t)
	c.await(t, []int{0, 1, 2}, 0, 1, 2)

	old.halt()
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(old.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	old.start(t)
	for range 5 {
		c.writes(t, 2, 0, 1, 2)
	}
	old.halt()
	if err := errors.Join(os.RemoveAll(old.cfg.Dir), os.Rename(before, old.cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	old.start(t)
	eventually(t, "its end as a member, or what it lacks by another leader", func() bool {
		e := old.group.now.Load()
		return !old.cp.Local().Identity.Serves() || e != nil && e.Serving()
	})
	c.writes(t, 0, 0, 2)
	old.returns(t)
	c.await(t, []int{0, 1, 2}, 0, 1, 2)
	c.writes(t, 1, 0, 1, 2)
}

// knock tries to be a member at a host's door.
func knock(h *settler, config *tls.Config) error {
	conn, err := tls.Dial("tcp", serverURLHost(h.cfg.PeerPort), config)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("GET /members HTTP/1.0\r\n\r\n")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the refusal comes with the first read
	return err
}

func serverURLHost(port int) string {
	u := serverURL(loopback, port)
	return u.Host
}
