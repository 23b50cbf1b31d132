package tun

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// gsoMaxSize is the largest packet that the kernel hands to the TUN, in bytes: with 1,438-byte segments and ESP around
// each it just fits one UDP_SEGMENT send of 65,507 bytes. With the default of 65,536 every read would take two sends.
const gsoMaxSize = 62000

// devicePath is the TUN driver.
const devicePath = "/dev/net/tun"

// device is an attached TUN. Methods may be called concurrently, writers each with a writev of its own.
type device struct {
	file *os.File
	raw  syscall.RawConn
	lost atomic.Bool // reading gives errors
}

// openDevice attaches to the device called name in the router namespace, or makes it there: persistent, with a vnet
// header before every packet, and with checksums and segments of TCP left to us (linux/if_tun.h).
func openDevice(r Router, name string) (*device, error) {
	var fd int
	err := r.Do(func() (err error) {
		fd, err = attach(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	// Non-blocking only now: a TUN that is not attached polls as an error.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("tun %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), devicePath)
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tun %s: %w", name, err), f.Close())
	}
	return &device{file: f, raw: raw}, nil
}

func attach(name string) (_ int, err error) {
	fd, err := unix.Open(devicePath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, openError(err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("tun %s: %w", name, err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return 0, attachError(name, err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, vnetSize); err != nil {
		return 0, fmt.Errorf("tun %s: set vnet header size: %w", name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4); err != nil {
		return 0, fmt.Errorf("tun %s: set offloads: %w", name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return 0, fmt.Errorf("tun %s: set persistent: %w", name, err)
	}
	return fd, nil
}

func openError(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%s is missing: load the kernel's tun module, and let the agent see the device: %w", devicePath, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s may not be opened: the agent needs root and the device in its device cgroup: %w", devicePath, err)
	}
	return fmt.Errorf("%s: %w", devicePath, err)
}

func attachError(name string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("no CAP_NET_ADMIN: tun %s: %w", name, err)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s is in use by another agent: %w", name, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%s is there, but is not a tun device: %w", name, err)
	}
	return fmt.Errorf("tun %s: %w", name, err)
}

// usable says whether the device still exists (deleted, it leaves the file behind) and can be read.
func (d *device) usable() bool {
	if d.lost.Load() {
		return false
	}
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return false
	}
	ctrl := d.raw.Control(func(fd uintptr) { err = unix.IoctlIfreq(int(fd), unix.TUNGETIFF, ifr) })
	return ctrl == nil && err == nil
}

// read reads a vnet header and a packet.
func (d *device) read(b []byte) (int, error) { return d.file.Read(b) }

// interrupt makes read return; resume allows it again.
func (d *device) interrupt() { _ = d.file.SetReadDeadline(time.Unix(1, 0)) }
func (d *device) resume()    { _ = d.file.SetReadDeadline(time.Time{}) }

func (d *device) close() error { return d.file.Close() }
