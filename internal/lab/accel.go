package main

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// emulation runs all processors of a machine in one thread. With a thread for each of them, a
// processor can fetch an instruction while the kernel on another one patches it: the kernel then
// dies of its own breakpoint (int3, arch/x86/kernel/alternative.c). Real processors never do that.
const emulation = "tcg,thread=single"

// createVM is KVM_CREATE_VM of linux/kvm.h.
const createVM = 0xAE01

// accelerator returns QEMU's accelerator for a machine of this architecture, and the reason: KVM
// where a virtual machine can be created with it, else emulation.
func accelerator(arch string) (accel, why string) {
	if arch != runtime.GOARCH {
		return emulation, "this machine is " + runtime.GOARCH
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return emulation, err.Error()
	}
	defer kvm.Close()
	vm, err := unix.IoctlRetInt(int(kvm.Fd()), createVM)
	if err != nil {
		return emulation, "/dev/kvm: create a machine: " + err.Error()
	}
	unix.Close(vm)
	return "kvm", "/dev/kvm works"
}
