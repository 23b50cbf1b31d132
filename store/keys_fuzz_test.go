package store

import "testing"

// FuzzKey: whoever writes to etcd chooses the keys.
func FuzzKey(f *testing.F) {
	for _, s := range []string{"", "/", "hosts/0123456789abcdef", "claims/default/10.42.0.1", "alive/0123456789abcdef", "revoked/x", "ca", "certs/0123456789abcdef/", "endpoints/a/b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) { _, _ = parseKey(s) })
}
