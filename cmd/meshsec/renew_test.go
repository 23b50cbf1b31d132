package main

import (
	"testing"
	"time"

	"github.com/meshsec/meshsec/store"
)

func TestAFounderRenewsItsCertificate(t *testing.T) {
	r := newRig(t, nil)
	founder := r.identity(nothing)
	if same := r.identity(nothing); string(same.Cert) != string(founder.Cert) {
		t.Error("a certificate that is new is renewed")
	}
	ca, err := founder.Authority()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(founder.HostID, founder.HostName, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	r.identity(func(l *store.Local) { l.Identity.Cert, l.Identity.Key = cert, store.Secret{Bytes: key} })
	now := r.identity(nothing)
	if ends, err := now.Expires(); err != nil || time.Until(ends) < store.HostTTL/2 {
		t.Errorf("it ends at %v, %v", ends, err)
	}
	if now.HostID != founder.HostID || string(now.Private.Bytes) != string(founder.Private.Bytes) {
		t.Error("it is another host")
	}
	if _, err := now.ClientTLS(); err != nil {
		t.Error(err)
	}
}
