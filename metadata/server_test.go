package metadata

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

func TestPaths(t *testing.T) {
	w := newWorld(t, Options{})
	for path, want := range map[string]string{
		"/":                                              "2016-07-29/\nlatest/\n",
		"/latest":                                        "containers/\nhosts/\nnetworks/\nself/\nservices/\nversion\n",
		"/2016-07-29/self/":                              "container/\nhost/\nnetwork/\nservice/\n",
		"/latest/self/container/name":                    "me",
		"/Latest/SELF/Container/Name":                    "me",
		"/latest/self/container/ips":                     "0\n1\n",
		"/latest/self/container/ips/0":                   "127.0.0.1",
		"/latest/self/container/ips/1":                   "10.43.0.9",
		"/latest/self/container/primary_ip":              "127.0.0.1",
		"/latest/self/container/labels/tier":             "front",
		"/latest/self/container/ports/0":                 "*:8080->80/tcp",
		"/latest/self/container/aliases/0":               "www",
		"/latest/self/host/name":                         "one",
		"/latest/self/host/agent_ip":                     "192.0.2.1",
		"/latest/self/network/name":                      "default",
		"/latest/self/network/subnets/0/network_address": "10.42.0.0/16",
		"/latest/self/service/scale":                     "1",
		"/latest/containers":                             "0=db\n1=me\n2=other\n",
		"/latest/containers/db/primary_ip":               "10.42.64.2",
		"/latest/containers/id-db/name":                  "db",
		"/latest/containers/0/host_uuid":                 far,
		"/latest/hosts":                                  "0=one\n1=two\n",
		"/latest/hosts/two/state":                        "active",
		"/latest/networks":                               "0=default\n1=shop\n",
		"/latest/services":                               "0=web\n",
		"/latest/services/web/containers/0/name":         "me",
		"/latest/services/shop%2Fweb/kind":               "404 Not Found: not found: /latest/services/shop/web/kind|there is:|0=web|",
	} {
		if got := w.get(me, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := w.get(other, "/latest/self/network/name"); got != "shop" {
		t.Errorf("another's network: %s", got)
	}
}

func TestFormats(t *testing.T) {
	w := newWorld(t, Options{})
	for accept, format := range map[string]string{"": formatText, "*/*": formatText, "application/json": formatJSON, "text/html, application/json;q=0.9, */*;q=0.1": formatJSON,
		"text/yaml": formatYAML, "application/x-yaml": formatYAML, "application/yaml;q=0.5, application/json;q=0.4": formatYAML, "nonsense;;;": formatText, "application/json;q=x": formatText} {
		res, body := w.ask(me, http.MethodGet, "/latest/self/container", "Accept", accept)
		if got := strings.TrimSuffix(res.Header.Get("Content-Type"), "; charset=utf-8"); got != format {
			t.Errorf("%q: %s, want %s", accept, got, format)
		}
		var v map[string]any
		switch format {
		case formatJSON:
			if err := json.Unmarshal([]byte(body), &v); err != nil {
				t.Error(err)
			}
		case formatYAML:
			if err := yaml.Unmarshal([]byte(body), &v); err != nil {
				t.Error(err)
			}
		default:
			continue
		}
		if v["name"] != "me" || v["labels"].(map[string]any)["tier"] != "front" {
			t.Errorf("%s: %v", accept, v)
		}
	}
	res, body := w.ask(me, http.MethodHead, "/latest/version")
	if res.StatusCode != 200 || body != "" || res.ContentLength == 0 {
		t.Error("HEAD:", res.Status, body)
	}
}

func TestAgeIsInEveryAnswer(t *testing.T) {
	w := newWorld(t, Options{})
	for _, path := range []string{"/", "/latest/version", "/latest/none"} {
		if res, _ := w.ask(me, http.MethodGet, path); res.Header.Get("Meshsec-Age") != "90" || res.Header.Get("Meshsec-Revision") != fmt.Sprint(w.snap.Revision) {
			t.Errorf("%s: %v", path, res.Header)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	w := newWorld(t, Options{})
	stranger := netip.MustParseAddr("127.0.0.9")
	if got := w.get(stranger, "/latest/self/container"); !strings.HasPrefix(got, "403") || strings.Contains(got, "db") {
		t.Error(got)
	}
	for path, want := range map[string]string{
		"/2015/self":                             "404 Not Found: no version 2015|there is:|2016-07-29|latest|",
		"/latest/selv":                           "404 Not Found: not found: /latest/selv|there is:|containers|hosts|networks|self|services|version|",
		"/latest/self/containr":                  "there is:|container/|host/|network/|service/|",
		"/latest/self/container/ips/9":           "there is:|0|1|",
		"/latest/self/container/ips/-1":          "404",
		"/latest/containers/vault":               "404",
		"/latest/networks/secret":                "404",
		"/latest/version/x":                      "404 Not Found: not found: /latest/version/x|",
		"/latest/version?wait=true&maxWait=x":    "400",
		"/latest/version?wait=true&maxWait=3601": "400",
		"/latest/version?wait=true&maxWait=-1":   "400",
	} {
		if got := w.get(me, path); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := w.get(me, "/latest/x", "Accept", "application/json"); !strings.Contains(got, `"there":["containers",`) {
		t.Error(got)
	}
	for method, want := range map[string]int{http.MethodPost: 405, http.MethodDelete: 405, http.MethodPut: 404} {
		if res, _ := w.ask(me, method, "/latest/self"); res.StatusCode != want {
			t.Errorf("%s: %s", method, res.Status)
		}
	}
	req, _ := http.NewRequest(http.MethodGet, w.url+"/latest/version", strings.NewReader(strings.Repeat("x", maxBody+1)))
	if res, err := client(me).Do(req); err == nil && res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Error("a body:", res, err)
	}
	req, _ = http.NewRequest(http.MethodGet, w.url+"/latest/version", nil)
	req.Header.Set("X", strings.Repeat("x", 2*maxHeader))
	if res, err := client(me).Do(req); err == nil && res.StatusCode != http.StatusRequestHeaderFieldsTooLarge { // or cut off while it sends
		t.Error("long headers:", res.Status)
	}
	st := w.s.Stats()
	if st.Replies[404] < 8 || st.Replies[403] != 1 || st.Replies[413] != 1 {
		t.Errorf("%+v", st)
	}
}

func TestAContainerThatAsksTooMuchIsCutOff(t *testing.T) {
	w := newWorld(t, Options{Rate: 5})
	codes := map[int]int{}
	for range 40 {
		res, _ := w.ask(other, http.MethodGet, "/latest/version")
		codes[res.StatusCode]++
	}
	if codes[429] < 20 || codes[200] < 10 {
		t.Errorf("%v", codes)
	}
	if got := w.get(me, "/latest/self/container/name"); got != "me" {
		t.Errorf("another container: %s", got)
	}
	// Connections that stay open are bounded, too.
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: other.AsSlice()}}
	for range maxConnsOf + 8 {
		c, err := d.Dial("tcp4", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if got := w.get(me, "/latest/self/container/name"); got != "me" {
		t.Errorf("another container: %s", got)
	}
	for end := time.Now().Add(patience); w.s.Stats().Refused < 8; {
		if time.Now().After(end) {
			t.Fatalf("%+v", w.s.Stats())
		}
	}
}

func TestTokens(t *testing.T) {
	w := newWorld(t, Options{TokenRequired: true})
	if got := w.get(me, "/latest/version"); !strings.HasPrefix(got, "401") {
		t.Error(got)
	}
	for _, c := range []struct{ path, header, ttl, want string }{
		{"/latest/api/token", ttlHeader, "", "400"}, {"/latest/api/token", ttlHeader, "0", "400"}, {"/latest/api/token", ttlHeader, "21601", "400"},
		{"/latest/token", ttlHeader, "60", "404"},
	} {
		if res, _ := w.ask(me, http.MethodPut, c.path, c.header, c.ttl); !strings.HasPrefix(res.Status, c.want) {
			t.Errorf("%+v: %s", c, res.Status)
		}
	}
	if res, _ := w.ask(me, http.MethodPut, "/latest/api/token", ttlHeader, "60", "X-Forwarded-For", "1.2.3.4"); res.StatusCode != 403 {
		t.Error("passed on:", res.Status)
	}
	for _, h := range [][2]string{{ttlHeader, tokenHeader}, {imdsTTL, imdsToken}} {
		res, token := w.ask(me, http.MethodPut, "/latest/api/token", h[0], "60")
		if res.StatusCode != 200 {
			t.Fatal(res.Status, token)
		}
		if got := w.get(me, "/latest/self/container/name", h[1], token); got != "me" {
			t.Error(got)
		}
		for _, bad := range []string{token + "A", "B" + token[1:], "x", strings.ToUpper(token)} {
			if got := w.get(me, "/latest/version", h[1], bad); !strings.HasPrefix(got, "401") {
				t.Errorf("token %s: %s", bad, got)
			}
		}
		if got := w.get(other, "/latest/version", h[1], token); !strings.HasPrefix(got, "401") {
			t.Error("another's token:", got)
		}
		if w.s.tokens.good(token, "a", time.Now().Add(61*time.Second)) || newTokens().good(token, "a", time.Now()) {
			t.Error("a token outlives its time, or its agent")
		}
	}
	// Where none is required, a bad one is no good all the same.
	w = newWorld(t, Options{})
	if got := w.get(me, "/latest/version", tokenHeader, "x"); !strings.HasPrefix(got, "401") {
		t.Error(got)
	}
}
