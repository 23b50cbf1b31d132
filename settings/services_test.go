package settings

import (
	"slices"
	"strings"
	"testing"
)

func parse(t *testing.T, pairs ...string) (Settings, error) {
	t.Helper()
	v, err := Gather(nil, nil, "", false)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		v[pairs[i]] = pairs[i+1]
	}
	return v.Parse()
}

func TestServices(t *testing.T) {
	for value, want := range map[string][]string{"dns,metadata": {DNS, Metadata}, " metadata ": {Metadata}, "dns": {DNS}, "off": nil, "": nil} {
		s, err := parse(t, "SERVICES", value)
		if err != nil || !slices.Equal(s.Services, want) {
			t.Errorf("%q: %v, %v", value, s.Services, err)
		}
	}
	for _, value := range []string{"dns,dns", "ntp", "dns;metadata", "dns,off"} {
		if _, err := parse(t, "SERVICES", value); err == nil || !strings.Contains(err.Error(), "dns, metadata, comma-separated, or off") {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestDomain(t *testing.T) {
	for value, want := range map[string]string{"meshsec.internal": "meshsec.internal", "Example.TEST.": "example.test", "a-b.c1.d": "a-b.c1.d"} {
		if s, err := parse(t, "DOMAIN", value); err != nil || s.Domain != want {
			t.Errorf("%q: %q, %v", value, s.Domain, err)
		}
	}
	for _, value := range []string{"", "internal", "-a.test", "a_b.test", "a..test", "10.42", strings.Repeat("a.", 31) + "test"} {
		if _, err := parse(t, "DOMAIN", value); err == nil || !strings.Contains(err.Error(), "DOMAIN") {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestMetadataToken(t *testing.T) {
	if s, err := parse(t); err != nil || s.MetadataToken != TokenOptional {
		t.Error(s.MetadataToken, err)
	}
	if _, err := parse(t, "METADATA_TOKEN", "yes"); err == nil || !strings.Contains(err.Error(), "optional or required") {
		t.Error(err)
	}
}
