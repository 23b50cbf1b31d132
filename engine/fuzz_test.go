package engine

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// said is a Docker that gives one answer to everything.
type said struct {
	status int
	body   string
}

func (s said) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: s.status, Body: io.NopCloser(strings.NewReader(s.body))}, nil
}

// FuzzAnswers: another Docker, or who listens in its place, answers as it likes. Nothing is taken for forgotten, or for a network's
// list, that is not said to be.
func FuzzAnswers(f *testing.F) {
	f.Add(200, `{"Id":"`+networkID+`","Containers":{"ep-`+ep1+`":{"Name":"web","EndpointID":"`+ep1+`"},"cccc":{"Name":"db","EndpointID":"`+ep2+`"}}}`)
	f.Add(404, `{"message":"no such network"}`)
	f.Add(201, `{"Id":"`+networkID+`","Containers":{}}`)
	f.Add(200, `{"Id":"cccc","Name":"/web","Config":{"Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{}}},"NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"::","HostPort":"8080"}],"x":null},`+
		`"Networks":{"mesh":{"EndpointID":"`+ep1+`","Aliases":["www"],"DNSNames":["web"],"IPAMConfig":{"LinkLocalIPs":["169.254.1.1"]}}}}}`)
	f.Add(200, `{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"cccc","name":"mesh"}}}{"Type":"container"}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		c := &Client{http: &http.Client{Transport: said{status, body}}}
		list, err := c.Endpoints(t.Context(), networkID)
		if errors.Is(err, ErrForgotten) && status != http.StatusNotFound {
			t.Errorf("forgotten by %d %q", status, body)
		}
		if err == nil && (list == nil || status != http.StatusOK) {
			t.Errorf("%v from %d %q", list, status, body)
		}
		found, err := c.Container(t.Context(), "cccc")
		for _, p := range found.Ports {
			if err != nil || p.Port == 0 {
				t.Errorf("port %+v, %v, from %q", p, err, body)
			}
		}
		err = c.Watch(t.Context(), func() {}, func(e Event) {
			if status != http.StatusOK {
				t.Errorf("event %+v by status %d", e, status)
			}
		})
		if err == nil {
			t.Error("a stream without an end")
		}
	})
}
