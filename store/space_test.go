package store

import (
	"errors"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// An embedded etcd that old revisions have filled makes room by itself, and takes writes again. Nothing that counts is lost.
func TestEmbeddedMakesRoomByItself(t *testing.T) {
	s := embeddedServer(t, func(c *EmbedConfig) { c.maxSize = 8 << 20 })
	a, b := s.join(t, hostA), s.join(t, hostB)
	mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
	client, junk := s.client(t), strings.Repeat("x", 1<<20)
	full := false
	for i := 0; i < 100 && !full; i++ {
		_, err := client.Put(callCtx(t), "junk", junk)
		full = errors.Is(err, rpctypes.ErrNoSpace)
		if err != nil && !full {
			t.Fatal(err)
		}
	}
	if !full {
		t.Fatal("it can't be filled, so this shows nothing")
	}
	e := testEndpoint(hostA, 2)
	mustUpdate(t, a.cp, func(l *Local) { l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e} })
	b.await(t, "a fact of afterwards", func(snap *Snapshot) bool { return snap.EndpointCount() == 1 })
	if _, there := b.Snapshot().Networks["default"]; !there {
		t.Error("the network is gone")
	}
	eventually(t, "good health", func() bool { ok, _ := a.Healthy(); return ok && !a.alarmed.Load() })
}

// What etcd refuses by an alarm is refused with the cause at once, the health says it, and facts that came meanwhile are there when the alarm
// is disarmed.
func TestEtcdsAlarms(t *testing.T) {
	for alarm, words := range map[pb.AlarmType]string{pb.AlarmType_NOSPACE: "out of space", pb.AlarmType_CORRUPT: "data differ"} {
		t.Run(alarm.String(), func(t *testing.T) {
			t.Parallel()
			s := debianServer(t)
			a, b := s.join(t, hostA), s.join(t, hostB)
			mustCreate(t, a, testNetwork("default", "10.42.0.0/16"))
			a.await(t, "the network", func(snap *Snapshot) bool { return len(snap.Networks) == 1 })
			client := s.client(t)
			raise := func(action pb.AlarmRequest_AlarmAction) {
				t.Helper()
				status, err := client.Status(callCtx(t), s.endpoints[0])
				if err == nil {
					_, err = pb.NewMaintenanceClient(client.ActiveConnection()).Alarm(callCtx(t),
						&pb.AlarmRequest{Action: action, MemberID: status.Header.MemberId, Alarm: alarm})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			raise(pb.AlarmRequest_ACTIVATE)
			_, err := a.ClaimBlock(callCtx(t), testBlock)
			if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), s.endpoints[0]) {
				t.Errorf("got %v, want %q at %s", err, words, s.endpoints[0])
			}
			if errors.Is(err, ErrFull) != (alarm == pb.AlarmType_NOSPACE) {
				t.Errorf("of the wrong kind: %v", err)
			}
			e := testEndpoint(hostA, 2)
			mustUpdate(t, a.cp, func(l *Local) { l.Endpoints[e.ID] = LocalEndpoint{Endpoint: e} })
			eventually(t, "bad health", func() bool {
				ok, why := a.Healthy()
				return !ok && strings.Contains(why, words)
			})
			raise(pb.AlarmRequest_DEACTIVATE)
			b.await(t, "the fact", func(snap *Snapshot) bool { return snap.EndpointCount() == 1 })
			eventually(t, "good health", func() bool { ok, _ := a.Healthy(); return ok })
		})
	}
}
