package settings

import (
	"strings"
	"testing"
)

func TestEtcdMembers(t *testing.T) {
	for value, want := range map[string]int{"1": 1, "3": 3, "5": 5} {
		if s, err := parse(t, "ETCD_MEMBERS", value); err != nil || s.EtcdMembers != want {
			t.Errorf("%q: %d, %v", value, s.EtcdMembers, err)
		}
	}
	if s, err := parse(t); err != nil || s.EtcdMembers != 3 {
		t.Errorf("by default %d, %v", s.EtcdMembers, err)
	}
	for _, value := range []string{"", "0", "2", "4", "7", "-3", "three", "3.0"} {
		if _, err := parse(t, "ETCD_MEMBERS", value); err == nil || !strings.Contains(err.Error(), `setting ETCD_MEMBERS="`+value+`": want 1, 3 or 5`) {
			t.Errorf("%q: %v", value, err)
		}
	}
}
