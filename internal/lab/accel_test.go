package main

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

func TestAccelerator(t *testing.T) {
	foreign := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	if accel, why := accelerator(foreign); accel != emulation || !strings.Contains(why, runtime.GOARCH) {
		t.Errorf("%s: %s, %s", foreign, accel, why)
	}
	accel, why := accelerator(runtime.GOARCH)
	if _, err := os.Stat("/dev/kvm"); err != nil && accel != emulation {
		t.Errorf("%s, %s; there is no /dev/kvm", accel, why)
	}
	if accel != "kvm" && accel != emulation || !strings.Contains(why, "/dev/kvm") {
		t.Errorf("%s, %s", accel, why)
	}
}
