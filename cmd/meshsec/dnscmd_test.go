package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/meshsec/meshsec/control"
	"github.com/meshsec/meshsec/link"
	"github.com/meshsec/meshsec/settings"
)

func (shown) DNS(name, kind, from string) (control.DNS, error) {
	switch {
	case from == "nobody":
		return control.DNS{}, errors.New("no container is called nobody")
	case name == "none":
		return control.DNS{Name: name, Type: kind, From: from, Status: "NXDOMAIN", Records: []string{}}, nil
	}
	return control.DNS{Name: name, Type: kind, From: from, Status: "NOERROR", Records: []string{name + ". 5 IN " + kind + " 10.42.64.2"},
		Why: []string{"it is a name"}}, nil
}

func TestDNSCommand(t *testing.T) {
	for args, want := range map[string]string{
		"dns web":                             "NOERROR\nweb. 5 IN A 10.42.64.2\n; it is a name\n",
		"dns web --type PTR --from 10.42.0.2": "web. 5 IN PTR",
		"dns web --json":                      `"status": "NOERROR"`,
	} {
		out, err := run(t, shown{}, strings.Fields(args)...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %q, %v", args, out, err)
		}
	}
	var e exit
	if _, err := run(t, shown{}, "dns", "none"); !errors.As(err, &e) || e.code != 1 {
		t.Errorf("a name that is not there: %v", err)
	}
	if _, err := run(t, shown{}, "dns", "web", "--from", "nobody"); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Error(err)
	}
	if _, err := run(t, shown{}, "dns"); err == nil {
		t.Error("no name is no question")
	}
}

func TestServicePorts(t *testing.T) {
	if got := servicePorts(settings.Settings{}); len(got) != 0 {
		t.Errorf("turned off: %v", got)
	}
	got := servicePorts(settings.Settings{Services: []string{settings.DNS, settings.Metadata}})
	want := []link.Service{{UDP: true, Port: 53, Rate: 6000}, {Port: 53, Rate: 500}, {Port: 80, Rate: 300}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSandboxAndResolversOfThePlugin(t *testing.T) {
	inside, beside := paths{}.inPlugin(), paths{run: "/run", etc: "/etc"}
	for key, want := range map[string]string{"/var/run/docker/netns/ab": "/host/run/docker/netns/ab", "/run/docker/netns/ab": "/host/run/docker/netns/ab", "/x/ab": "/x/ab"} {
		if got := inside.sandbox(key); got != want {
			t.Errorf("%s is at %s, want %s", key, got, want)
		}
	}
	if got := beside.sandbox("/var/run/docker/netns/ab"); got != "/run/docker/netns/ab" {
		t.Error(got)
	}
	if got := inside.resolvers(); len(got) != 2 || got[0] != "/host/etc/resolv.conf" {
		t.Error(got)
	}
	if got := beside.resolvers(); len(got) != 1 {
		t.Error(got)
	}
}
