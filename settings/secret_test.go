package settings

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestPPKIsCheckedAndNeverPrinted(t *testing.T) {
	key := strings.Repeat("a5", 32)
	for _, c := range []struct {
		ppk, old string
		wrong    string // in the error; "": none
	}{
		{"", "", ""},
		{key, "", ""},
		{strings.ToUpper(key), None, ""},
		{"/etc/meshsec/ppk", key, ""},
		{"", "/etc/meshsec/ppk", ""}, // it is being given up
		{key[1:], "", "setting PPK: want 64 hex digits"},
		{key + "0", "", "setting PPK: want"},
		{"a5a5 secret passphrase a5a5", "", "setting PPK: want"},
		{"none", "", "setting PPK: want"},
		{key, "a5a5", "setting PPK_OLD: want"},
		{"", None, "PPK_OLD=none is for hosts with a PPK"},
	} {
		v, err := Gather(nil, []string{"PPK=" + c.ppk, "PPK_OLD=" + c.old}, "", true)
		if err != nil {
			t.Fatal(err)
		}
		s, err := v.Parse()
		if c.wrong == "" && (err != nil || s.PPK.Text != c.ppk || s.PPKOld.Text != c.old) || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%q and %q: %v", c.ppk, c.old, err)
		}
		out := fmt.Sprint(err)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			out += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, s.PPK) + fmt.Sprintf(verb, &s)
		}
		j, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if out += string(j); strings.Contains(out, "a5a5") || strings.Contains(out, "61356135") {
			t.Errorf("printed: %s", out)
		}
	}
}
