package store

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTheAuthorityIsReplacedUnderSeveralMembers: each gets a certificate of the new one, shows it, and believes the others'; the old
// one can be retired then.
func TestTheAuthorityIsReplacedUnderSeveralMembers(t *testing.T) {
	long(t)
	c := newColony(t, 3)
	c.await(t, []int{0, 1, 2}, 0, 1, 2)
	founder := c.hosts[0]
	ca, err := founder.cp.Local().Identity.Authority()
	if err != nil {
		t.Fatal(err)
	}
	if err := founder.ReplaceAuthority(callCtx(t), ca); err != nil {
		t.Fatal(err)
	}
	next, err := founder.cp.Local().Identity.Authority()
	if err != nil {
		t.Fatal(err)
	}
	root, err := parseCert(next.Cert)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range c.hosts {
		eventually(t, "a server's certificate of the new authority", func() bool {
			shown, err := os.ReadFile(filepath.Join(h.cfg.Dir, "server.pem"))
			if err != nil {
				return false
			}
			cert, err := parseCert(shown)
			return err == nil && cert.CheckSignatureFrom(root) == nil
		})
	}
	c.writes(t, 2, 0, 1, 2)
	eventually(t, "the old authority's end", func() bool { return founder.RetireAuthority(callCtx(t), next, false) == nil })
	c.writes(t, 1, 0, 1, 2)
	for _, h := range c.hosts {
		h.returns(t)
	}
	c.await(t, []int{0, 1, 2}, 0, 1, 2)
}
