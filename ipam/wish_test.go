package ipam

import (
	"strings"
	"testing"
)

func TestRequestsThatAreRefused(t *testing.T) {
	local := func(pool, sub string, options ...string) PoolRequest {
		req := PoolRequest{AddressSpace: LocalSpace, Pool: pool, SubPool: sub, Options: map[string]string{}}
		for i := 0; i < len(options); i += 2 {
			req.Options[options[i]] = options[i+1]
		}
		return req
	}
	for name, c := range map[string]struct {
		req  PoolRequest
		want string
	}{
		"v6":              {PoolRequest{AddressSpace: LocalSpace, V6: true}, "IPv4 only"},
		"space":           {PoolRequest{AddressSpace: "Other"}, "MeshsecLocal"},
		"garbage":         {local("ten", ""), "such as 10.42.0.0/16"},
		"v6 pool":         {local("fd00::/64", ""), "not IPv4"},
		"host bits":       {local("10.42.0.5/16", ""), "should be 10.42.0.0/16"},
		"too small":       {local("10.42.0.0/29", ""), "between /8 and /28"},
		"too large":       {local("0.0.0.0/0", ""), "between /8 and /28"},
		"loopback":        {local("127.0.0.0/16", ""), "127.0.0.0/8"},
		"multicast":       {local("239.0.0.0/16", ""), "224.0.0.0/3"},
		"link-local":      {local("169.254.0.0/16", ""), "169.254.0.0/16"},
		"range alone":     {local("", "10.42.5.0/24"), "needs --subnet"},
		"range outside":   {local("10.42.0.0/16", "10.43.5.0/24"), "not inside"},
		"range larger":    {local("10.42.0.0/16", "10.42.0.0/15"), "not inside"},
		"range tiny":      {local("10.42.0.0/16", "10.42.5.0/31"), "at least a /30"},
		"range garbage":   {local("10.42.0.0/16", "x"), "--ip-range"},
		"unknown option":  {local("", "", "meshsec.blok", "26"), "known are meshsec.block and meshsec.network"},
		"foreign option":  {local("", "", "driver", "x"), "known are meshsec.block and meshsec.network"},
		"network name":    {local("", "", OptionNetwork, "a/b"), "are allowed"},
		"empty name":      {local("", "", OptionNetwork, ""), "are allowed"},
		"block garbage":   {local("", "", OptionBlock, "big"), "24 to 30"},
		"block too long":  {local("", "", OptionBlock, "31"), "24 to 30"},
		"block too short": {local("", "", OptionBlock, "16"), "24 to 30"},
	} {
		if _, err := parse(c.req); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want …%s…", name, err, c.want)
		}
	}
}

func TestRequestsThatAreRead(t *testing.T) {
	w, err := parse(PoolRequest{AddressSpace: LocalSpace, Pool: "10.50.0.0/16", SubPool: "10.50.5.0/24", Options: map[string]string{
		OptionNetwork: "blue", OptionBlock: "/27", "com.docker.network.ipam.serial": "true"}})
	if err != nil || w.network != "blue" || w.block != 27 || w.pool != p("10.50.0.0/16") || w.sub != p("10.50.5.0/24") {
		t.Fatalf("got %+v, %v", w, err)
	}
	if got := w.id("blue", w.pool); got != "MeshsecLocal/blue/10.50.0.0/16/10.50.5.0/24" {
		t.Errorf("ID %q", got)
	}
	if w, err := parse(PoolRequest{AddressSpace: LocalSpace}); err != nil || w.pool.IsValid() {
		t.Errorf("got %+v, %v", w, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(LocalSpace, "10.50.0.0/16", "10.50.5.0/24", OptionBlock, "26", false)
	f.Add(LocalSpace, "", "", OptionNetwork, "x", true)
	f.Add("", "::/0", "0.0.0.0/32", "", "", false)
	f.Fuzz(func(t *testing.T, space, pool, sub, key, value string, v6 bool) {
		w, err := parse(PoolRequest{AddressSpace: space, Pool: pool, SubPool: sub, Options: map[string]string{key: value}, V6: v6})
		if err != nil || !w.pool.IsValid() {
			return
		}
		n, err := propose("n", w.pool, w)
		if err != nil {
			return
		}
		if err := n.Check(); err != nil {
			t.Errorf("%+v: the fact is not sound: %v", w, err)
		}
	})
}
