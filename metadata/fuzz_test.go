package metadata

import (
	"bufio"
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzRequest: paths, waits, Accept headers and tokens are what containers make of them. No answer tells of a network that the
// asker is not on.
func FuzzRequest(f *testing.F) {
	w := newWorld(f, Options{Rate: math.MaxInt32})
	token := w.s.tokens.make("a", w.s.now().Add(maxTTL))
	for _, head := range []string{
		"GET / HTTP/1.1", "GET /latest/self/container/ips/0 HTTP/1.1\nAccept: application/json;q=0.5, text/*;q=x", "HEAD //2016-07-29///Containers/0/ HTTP/1.0",
		"GET /latest/containers/vault HTTP/1.1\nAccept: application/yaml", "GET /latest/version?wait=true&maxWait=0&value=7 HTTP/1.1",
		"GET /latest/services/shop%2Fweb?wait=true HTTP/1.1\nAccept: */*;q=2", "PUT /latest/api/token HTTP/1.1\nMetadata-Token-TTL-Seconds: 60",
		"GET /latest/hosts/-1 HTTP/1.1\nMetadata-Token: " + token, "GET /latest HTTP/1.1\nX-aws-ec2-metadata-token: AAAA\nAccept: application/json",
	} {
		f.Add(head + "\nHost: x\n\n")
	}
	over, end := context.WithCancel(f.Context()) // nobody waits for a change
	end()
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		r.RemoteAddr = me.String() + ":1024"
		answer := httptest.NewRecorder()
		w.s.ServeHTTP(answer, r.WithContext(over))
		body := answer.Body.String()
		switch {
		case answer.Code != http.StatusOK:
		case strings.Contains(body, "10.44."), strings.Contains(body, "vault"):
			t.Errorf("%q is told %q", text, body)
		case r.Method == http.MethodGet && strings.HasPrefix(answer.Header().Get("Content-Type"), formatJSON) && !json.Valid([]byte(body)):
			t.Errorf("%q is no JSON", body)
		}
	})
}
