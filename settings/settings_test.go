package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "meshsec.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlagsOutrankEnvironmentOutranksFileOutranksDefault(t *testing.T) {
	file := write(t, "# comment\n\nPORT=1\nLOG_LEVEL=debug\nMESHSEC_HOST_NAME=\"from file\"\nENVIRONMENT=prod\n")
	v, err := Gather(map[string]string{"port": "x"}, nil, "", false)
	if err == nil {
		t.Error("flag names are setting names; a lower-case one should be unknown", v)
	}
	v, err = Gather(map[string]string{"PORT": "3"}, []string{"MESHSEC_PORT=2", "MESHSEC_LOG_LEVEL=warn", "PATH=/bin", "JOIN=ignored"}, file, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"PORT": "3", "LOG_LEVEL": "warn", "HOST_NAME": "from file", "ENVIRONMENT": "prod",
		"JOIN": "", "ENCAP": "udp"} {
		if v[name] != want {
			t.Errorf("%s = %q, want %q", name, v[name], want)
		}
	}
}

func TestInThePluginNamesCarryNoPrefixAndEmptyMeansUnset(t *testing.T) {
	v, err := Gather(nil, []string{"PORT=4501", "LOG_LEVEL=", "JOIN=tok", "PATH=/bin", "HOME=/"}, "", true)
	if err != nil {
		t.Fatal(err)
	}
	if v["PORT"] != "4501" || v["JOIN"] != "tok" || v["LOG_LEVEL"] != "info" {
		t.Error(v)
	}
}

func TestUnknownSettingIsRefusedWithTheKnownOnes(t *testing.T) {
	for name, gather := range map[string]func() (Values, error){
		"environment": func() (Values, error) { return Gather(nil, []string{"MESHSEC_PROT=1"}, "", false) },
		"plugin":      func() (Values, error) { return Gather(nil, []string{"MESHSEC_PROT=1"}, "", true) },
		"file":        func() (Values, error) { return Gather(nil, nil, write(t, "PROT=1\n"), false) },
	} {
		_, err := gather()
		if err == nil || !strings.Contains(err.Error(), "unknown setting PROT") || !strings.Contains(err.Error(), "PORT") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFileErrorsNameTheLine(t *testing.T) {
	path := write(t, "PORT=1\nnonsense\n")
	_, err := Gather(nil, nil, path, false)
	if err == nil || !strings.Contains(err.Error(), path+", line 2") {
		t.Error(err)
	}
	if _, err := Gather(nil, nil, filepath.Join(t.TempDir(), "absent"), false); err != nil {
		t.Error("an absent file is no error:", err)
	}
}

func TestDefaultsParse(t *testing.T) {
	v, err := Gather(nil, nil, "", false)
	if err != nil {
		t.Fatal(err)
	}
	s, err := v.Parse()
	if err != nil {
		t.Fatal(err)
	}
	if s.Port != 4500 || len(s.Pools) != 10 || s.Pools[0].String() != "10.42.0.0/16" || s.Environment != "default" {
		t.Errorf("%+v", s)
	}
	for _, set := range All {
		if _, ok := v[set.Name]; !ok || set.Help == "" {
			t.Errorf("%s has no default or no help", set.Name)
		}
	}
}

func TestBadValuesNameSettingValueAndWhatIsAllowed(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"PORT", "0", "1 to 65535"},
		{"PORT", "http", "1 to 65535"},
		{"ENVIRONMENT", "a/b", "lower-case letters"},
		{"ENVIRONMENT", "", "lower-case letters"},
		{"ENCAP", "gre", "udp or esp"},
		{"DATAPLANE", "dpdk", "auto or kernel or userspace"},
		{"SCOPE", "swarm", "local"},
		{"POOLS", "10.42.0.0/16,10.42.8.0/24", "overlap"},
		{"POOLS", "10.42.0.1/16", "without host bits"},
		{"POOLS", "fd00::/64", "IPv4 prefix"},
		{"ROUTERS", "10.42.0.0/16", "never come from a pool"},
		{"ROUTERS", "x", "IPv4 prefix"},
		{"ETCD", "etcd1", "host:port"},
		{"ETCD_CERT", "/x", "go together"},
		{"ETCD_CA", "/x", "ETCD, which is empty"},
		{"HOST_ID", "xyz", "16 lower-case hex digits"},
		{"HOST_ID", "0123456789ABCDEF", "16 lower-case hex digits"},
		{"LOG_LEVEL", "loud", "debug"},
		{"LOG_FORMAT", "xml", "text or json"},
		{"LISTEN", "9450", "address:port"},
		{"HOST_GRACE", "1 day", "24h"}, {"HOST_GRACE", "59s", "1m0s at least"},
	} {
		v, err := Gather(nil, nil, "", false)
		if err != nil {
			t.Fatal(err)
		}
		v[c.name] = c.value
		_, err = v.Parse()
		if err == nil || !strings.Contains(err.Error(), c.name) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%q: %v", c.name, c.value, err)
		}
	}
	v, _ := Gather(nil, nil, "", false)
	v["PORT"], v["ENCAP"] = "x", "y"
	if _, err := v.Parse(); err == nil || !strings.Contains(err.Error(), "PORT") || !strings.Contains(err.Error(), "ENCAP") {
		t.Error("all faults at once:", err)
	}
	v, _ = Gather(nil, nil, "", false)
	v["LISTEN"] = Off
	if s, err := v.Parse(); err != nil || s.Listen != "" {
		t.Error(s.Listen, err)
	}
}
