package store

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

func testToken(t testing.TB) (CA, Token) {
	t.Helper()
	ca, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	token, err := ca.NewToken([]string{"https://192.0.2.1:2379", "https://[2001:db8::1]:2379"}, "beta", 0)
	if err != nil {
		t.Fatal(err)
	}
	return ca, token
}

func TestTokenRoundTrip(t *testing.T) {
	_, token := testToken(t)
	got, err := ParseToken("  " + token.Encode() + "\n")
	if err != nil || !reflect.DeepEqual(got, token) {
		t.Errorf("got %#v, %v, want %#v", got, err, token)
	}
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token.Encode()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ParseToken(path); err != nil || !reflect.DeepEqual(got, token) {
		t.Errorf("from a file: %v", err)
	}
	if err := got.CheckEnvironment("prod"); err == nil || !strings.Contains(err.Error(), `"prod"`) || !strings.Contains(err.Error(), `"test"`) {
		t.Errorf("got %v, want both names", err)
	}
	id, err := JoinIdentity(got, "")
	if err != nil || id.HostID != token.HostID || id.HostName != "beta" || len(id.Private.Bytes) != 32 {
		t.Errorf("got %+v, %v", id, err)
	}
	if _, err := id.Authority(); err == nil {
		t.Error("a host that joined holds the authority")
	}
}

func TestTokenThatIsBad(t *testing.T) {
	ca, token := testToken(t)
	good := token.Encode()
	other, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Token)) string {
		changed := token
		change(&changed)
		return changed.Encode()
	}
	otherCert, otherKey, err := ca.Issue(hostB, "x", 0)
	if err != nil {
		t.Fatal(err)
	}
	middle := len(good) / 2
	cases := map[string]struct{ token, reason string }{
		"empty":             {"", "must start with"},
		"another thing":     {"SWMTKN-1-abc", "must start with"},
		"only the start":    {tokenPrefix, "a part is missing"},
		"cut off":           {good[:len(good)-3], "is malformed"},
		"first part cut":    {tokenPrefix + good[len(tokenPrefix)+4:], "checksum"},
		"one character":     {good[:middle] + string(rune(good[middle])^1) + good[middle+1:], "is malformed"},
		"a blank":           {good[:middle] + " " + good[middle:], "is malformed"},
		"too long":          {good + strings.Repeat("A", tokenMax), "too long"},
		"no such file":      {"/nonexistent/token", "no such file"},
		"a directory":       {"/", "is a directory"},
		"other authority":   {with(func(t *Token) { t.CA = other.Cert }), "unknown authority"},
		"other host's cert": {with(func(t *Token) { t.Cert, t.Key = otherCert, Secret{otherKey} }), "not that of its host"},
		"other key":         {with(func(t *Token) { t.Key = Secret{otherKey} }), "not that of the certificate"},
		"other environment": {with(func(t *Token) { t.Environment = "prod" }), "not that of its host"},
		"bad host ID":       {with(func(t *Token) { t.HostID = "../../x" }), "host ID"},
		"bad endpoint":      {with(func(t *Token) { t.Endpoints = []string{"nowhere"} }), "endpoint"},
		"host as authority": {with(func(t *Token) { t.CA = t.Cert }), "is malformed"},
	}
	for what, c := range cases {
		_, err := ParseToken(c.token)
		if err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: got %v, want an error with %q", what, err, c.reason)
		} else if len(c.token) > 100 && strings.Contains(err.Error(), c.token[20:60]) {
			t.Errorf("%s: the error quotes the token: %v", what, err)
		}
	}
}

func TestTokenAndTheClock(t *testing.T) {
	ca, _ := testToken(t)
	token, err := ca.NewToken(nil, "", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseCert(token.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseToken(token.Encode(), cert.NotAfter.Add(-time.Minute)); err != nil {
		t.Error(err)
	}
	_, err = parseToken(token.Encode(), cert.NotAfter.Add(time.Minute))
	if err == nil || !strings.Contains(err.Error(), "expired at "+cert.NotAfter.UTC().Format(dateFormat)) {
		t.Errorf("got %v, want the date", err)
	}
	_, err = parseToken(token.Encode(), time.Unix(0, 0)) // a machine without a clock
	if err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("got %v, want a hint at the clock", err)
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	id, err := FoundIdentity(testEnv, "", "alpha")
	if err != nil {
		t.Fatal(err)
	}
	_, token := testToken(t)
	id.NextKey = id.CAKey // as while an authority is replaced
	ca := id.Trusted()
	values := []any{ca, &ca, ca.Bundle(), EmbedConfig{CA: ca}, Local{Identity: id}, &Local{Identity: id}, id, &id, token, &token, id.Private, &id.Private, []Secret{id.Key}, map[string]any{"t": token, "i": id}}
	var out strings.Builder
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		if err != nil {
			b = []byte(err.Error())
		}
		out.Write(b)
		for _, f := range []logrus.Formatter{&logrus.TextFormatter{}, &logrus.JSONFormatter{}} {
			line, err := f.Format(&logrus.Entry{Data: map[string]any{"v": v}, Message: fmt.Sprint(v)})
			fmt.Fprintln(&out, string(line), err)
		}
	}
	for _, secret := range []Secret{id.Private, id.Key, id.CAKey, token.Key} {
		der := secret.Bytes
		if len(der) != 32 {
			if der, err = decodePEM(pemKey, der); err != nil {
				t.Fatal(err)
			}
			der = der[len(der)-32:] // the seed
		}
		jsonForm, _ := json.Marshal(secret.Bytes)
		for _, form := range []string{string(secret.Bytes), fmt.Sprintf("%x", der), fmt.Sprintf("%v", der)[1:40], strings.Trim(string(jsonForm), `"`), token.Encode()} {
			if strings.Contains(out.String(), form) {
				t.Errorf("a secret was printed in the form %.20q…", form)
			}
		}
	}
}

func TestCertificates(t *testing.T) {
	ca, err := NewCA(testEnv)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := ca.Issue(hostB, "beta", 0)
	if err != nil {
		t.Fatal(err)
	}
	cert, _, err := keyPair(certPEM, Secret{keyPEM})
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != hostB || cert.URIs[0].String() != "meshsec://test/"+hostB || len(cert.DNSNames) != 0 {
		t.Errorf("got %v %v %v", cert.Subject, cert.URIs, cert.DNSNames)
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); life < HostTTL || life > HostTTL+2*clockSlack {
		t.Errorf("a host's certificate lives %s", life)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: ServerName}); err == nil {
		t.Error("a host's certificate passes for the server's")
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("a host's certificate passes for a server's")
	}
	authority, err := parseCert(ca.Cert)
	if err != nil || !authority.IsCA || time.Until(authority.NotAfter) < CATTL-time.Hour {
		t.Errorf("authority: %v, %v", authority.NotAfter, err)
	}
	for _, bad := range []string{"", "ABCDEF0123456789", "0123", "../x"} {
		if _, _, err := ca.Issue(bad, "x", 0); err == nil {
			t.Errorf("issued for host ID %q", bad)
		}
	}
	if _, err := NewCA("a/b"); err == nil {
		t.Error("an environment with a slash")
	}
}

func TestLoadTLS(t *testing.T) {
	_, token := testToken(t)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca, cert, key := write("ca", token.CA), write("cert", token.Cert), write("key", token.Key.Bytes)
	c, err := LoadTLS(ca, cert, key)
	if err != nil || len(c.Certificates) != 1 || c.RootCAs == nil || c.ServerName != "" || c.MinVersion < tls.VersionTLS12 {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := LoadTLS("", cert, ""); err == nil || !strings.Contains(err.Error(), "ETCD_KEY") {
		t.Errorf("got %v", err)
	}
	if _, err := LoadTLS(key, "", ""); err == nil {
		t.Error("a key was taken for a CA")
	}
	if _, err := LoadTLS(filepath.Join(dir, "none"), "", ""); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("got %v", err)
	}
}

// FuzzToken takes its input as a token, and as the payload of one with a good checksum.
func FuzzToken(f *testing.F) {
	_, token := testToken(f)
	f.Add(token.Encode())
	f.Add(tokenPrefix)
	f.Add(`{"env":"test","id":"0123456789abcdef","etcd":["https://192.0.2.1:2379"],"ca":"AA","cert":"AA","key":"AA"}`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, candidate := range []string{s, sealToken([]byte(s))} {
			got, err := decodeToken(candidate)
			if err != nil {
				continue
			}
			_ = got.check(testTime)
			if again, err := decodeToken(got.Encode()); got.Encode() != "" && (err != nil || !reflect.DeepEqual(again, got)) {
				t.Fatalf("%v: a token that is read is not written as it was", err)
			}
		}
	})
}
