package ipsec_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/meshsec/meshsec/ipsec"
)

// secret is key material whose bytes are easy to recognise in any notation.
func secret() ipsec.Key {
	var k ipsec.Key
	for i := range k.Bytes {
		k.Bytes[i] = byte(0xa1 + i*7)
	}
	return k
}

// holders are a Key and everything of this package that holds one, as values and behind pointers.
func holders() map[string]any {
	sa := ipsec.SA{SPI: 0x1001, Cipher: ipsec.AES256GCM, Key: secret(), Created: time.Unix(1, 0)}
	peer := ipsec.Peer{Name: "b", In: []ipsec.SA{sa}, Out: &sa}
	key := secret()
	return map[string]any{
		"key": key, "*key": &key, "sa": sa, "*sa": &sa, "peer": peer, "*peer": &peer,
		"config": ipsec.Config{Peers: []ipsec.Peer{peer}}, "set": ipsec.SASet{In: []ipsec.SA{sa}, Out: &sa},
		"map": map[string]ipsec.SASet{"b": {In: []ipsec.SA{sa}}}, "keys": []ipsec.Key{key}, "array": [1]ipsec.Key{key},
		"pointers": struct {
			SA     *ipsec.SA
			Peer   *ipsec.Peer
			Config *ipsec.Config
			Set    *ipsec.SASet
			Key    *ipsec.Key
		}{&sa, &peer, &ipsec.Config{Peers: []ipsec.Peer{peer}}, &ipsec.SASet{Out: &sa}, &key},
		"error": fmt.Errorf("sa %v: %v", sa, key),
	}
}

// shows fails the test if text has key bytes in any notation that Go's packages print bytes in.
func shows(t *testing.T, how, text string) {
	t.Helper()
	k := secret()
	part := k.Bytes[:4]
	for _, needle := range []string{
		string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
		fmt.Sprintf("% x", part), fmt.Sprintf("%d %d %d", part[0], part[1], part[2]),
		fmt.Sprintf("%d,%d,%d", part[0], part[1], part[2]), fmt.Sprintf("%#x, %#x", part[0], part[1]),
		fmt.Sprintf("%o %o", part[0], part[1]), fmt.Sprintf("%b %b", part[0], part[1]),
		base64.StdEncoding.EncodeToString(k.Bytes[:])[:12], strings.Trim(fmt.Sprintf("%q", part), `"`),
	} {
		if strings.Contains(text, needle) {
			t.Errorf("%s shows the key: %q", how, text)
			return
		}
	}
}

func TestKeysNeverPrint(t *testing.T) {
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%O", "%b", "%c", "%U", "%e",
		"%g", "%t", "%T", "%20v", "%-20v", "%.3v", "%+q", "%#q", "%z"}
	for name, v := range holders() {
		for _, verb := range verbs {
			shows(t, name+" "+verb, fmt.Sprintf(verb, v))
		}
		shows(t, name+" Sprint", fmt.Sprint(v))
		shows(t, name+" Sprintln", fmt.Sprintln(v))
	}
	if got := fmt.Sprintf("%v %d %x", secret(), secret(), secret()); got != "(key) (key) (key)" {
		t.Errorf("got %q", got)
	}
}

func TestKeysNeverMarshal(t *testing.T) {
	for name, v := range holders() {
		b, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		shows(t, name+" json", string(b))
		if b, err = json.MarshalIndent(v, "", " "); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		shows(t, name+" json, indented", string(b))
		var buf bytes.Buffer
		_ = gob.NewEncoder(&buf).Encode(v)
		shows(t, name+" gob", buf.String())
	}
	if _, err := secret().MarshalBinary(); err == nil {
		t.Error("MarshalBinary gave the key away")
	}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(secret()); err == nil {
		t.Error("gob gave the key away")
	}
	b, err := json.Marshal(map[ipsec.Key]int{secret(): 1})
	if err != nil {
		t.Error(err)
	}
	shows(t, "json map key", string(b))
}

func TestKeysNeverLogged(t *testing.T) {
	for _, f := range []logrus.Formatter{&logrus.TextFormatter{}, &logrus.JSONFormatter{}} {
		var buf bytes.Buffer
		for name, v := range holders() {
			line, err := f.Format(&logrus.Entry{Data: map[string]any{"v": v, "list": []any{v}, "error": fmt.Errorf("%+v", v)}, Message: fmt.Sprint(v)})
			if err != nil {
				t.Errorf("%T of %s: %v", f, name, err)
			}
			buf.Write(line)
		}
		shows(t, fmt.Sprintf("%T", f), buf.String())
	}
}

func TestWipe(t *testing.T) {
	k := secret()
	k.Wipe()
	if k != (ipsec.Key{}) {
		t.Error("bytes are left")
	}
}

func TestNames(t *testing.T) {
	for want, v := range map[string]fmt.Stringer{
		"0x00001001": ipsec.SPI(0x1001), "0xffffffff": ipsec.SPI(1<<32 - 1),
		"aes-256-gcm": ipsec.AES256GCM, "chacha20-poly1305": ipsec.ChaCha20Poly1305, "cipher(7)": ipsec.Cipher(7),
	} {
		if v.String() != want {
			t.Errorf("got %s, want %s", v, want)
		}
	}
}
