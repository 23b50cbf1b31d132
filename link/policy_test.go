package link

import (
	"os/exec"
	"testing"
)

// TestForwardDropped: only a policy DROP beside Docker's nftables tables is told; with iptables Docker's own rules accept.
func TestForwardDropped(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		command []string
		want    bool
	}{
		{[]string{"iptables", "-P", "FORWARD", "DROP"}, false},
		{[]string{"nft", "table ip docker-bridges { chain filter-FORWARD { type filter hook forward priority 0; policy accept; }; }"}, true},
		{[]string{"iptables", "-P", "FORWARD", "ACCEPT"}, false},
		{[]string{"iptables", "-P", "INPUT", "DROP"}, false},
	} {
		ok(t, inNamespace(w.host, func() error {
			out, err := exec.CommandContext(t.Context(), c.command[0], c.command[1:]...).CombinedOutput()
			if err != nil {
				t.Logf("%s", out)
			}
			return err
		}))
		if got := must(w.r.ForwardDropped())(t); got != c.want {
			t.Errorf("after %q: %v", c.command, got)
		}
	}
}
