//go:build linux && amd64

package crashpoint

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// What a socket is to the count.
const (
	otherSocket = "other"
	netlink     = "netlink"
	etcd        = "etcd"
)

// etcdPort is the port of etcd's members.
const etcdPort = 2379

// classifier tells of a system call whether it writes to etcd, disk or kernel.
type classifier struct {
	sockets map[string]string // by their links in /proc/PID/fd
}

func newClassifier() *classifier { return &classifier{sockets: map[string]string{}} }

// classify describes the write that the thread is about to make; empty: it is none, or another process's than pid.
func (c *classifier) classify(pid, tid int, r *unix.PtraceRegs) string {
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", pid, tid)); err != nil {
		return ""
	}
	call := calls[r.Orig_rax]
	switch call {
	case "rename", "renameat", "renameat2", "linkat", "unlinkat", "mkdirat":
		return "disk: " + call
	case "mount", "umount2":
		return "kernel: " + call
	case "openat":
		var path [6]byte
		if _, err := unix.PtracePeekData(tid, uintptr(r.Rsi), path[:]); err == nil && r.Rdx&unix.O_CREAT != 0 && string(path[:]) != "/proc/" {
			return "disk: " + call
		}
		return ""
	}
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, r.Rdi))
	if err != nil {
		return ""
	}
	switch {
	case call == "ioctl":
		if link == "/dev/net/tun" && r.Rsi == unix.TUNSETIFF {
			return "kernel: TUNSETIFF"
		}
		return ""
	case strings.HasPrefix(link, "socket:"):
		return c.socket(pid, tid, link, call, r)
	case strings.HasPrefix(link, "/proc/sys/"):
		return "kernel: " + link
	case r.Rdi <= 2, !strings.HasPrefix(link, "/"), strings.HasPrefix(link, "/proc/"), strings.HasPrefix(link, "/dev/"), strings.HasPrefix(link, "/sys/"):
		return ""
	}
	return fmt.Sprintf("disk: %s %s", call, link)
}

func (c *classifier) socket(pid, tid int, link, call string, r *unix.PtraceRegs) string {
	kind, known := c.sockets[link]
	if !known {
		kind = c.ask(pid, int(r.Rdi))
		c.sockets[link] = kind
	}
	switch kind {
	case etcd:
		return "etcd: " + call
	case netlink:
		return changes(tid, call, r)
	}
	return ""
}

// ask finds out what a socket of the process is.
func (c *classifier) ask(pid, fd int) string {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return otherSocket
	}
	defer unix.Close(process)
	own, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return otherSocket
	}
	defer unix.Close(own)
	if domain, err := unix.GetsockoptInt(own, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && domain == unix.AF_NETLINK {
		return netlink
	}
	peer, err := unix.Getpeername(own)
	if err != nil {
		return otherSocket
	}
	switch a := peer.(type) {
	case *unix.SockaddrInet4:
		if a.Port == etcdPort {
			return etcd
		}
	case *unix.SockaddrInet6:
		if a.Port == etcdPort {
			return etcd
		}
	}
	return otherSocket
}

// changes describes a netlink message that changes something (linux/netlink.h: such ask for an acknowledgement, or say how they
// create; nfnetlink puts them into a batch).
func changes(tid int, call string, r *unix.PtraceRegs) string {
	at := uintptr(r.Rsi)
	if call == "sendmsg" { // struct msghdr: msg_iov at 16; struct iovec: iov_base first
		for _, offset := range []uintptr{16, 0} {
			var pointer [8]byte
			if _, err := unix.PtracePeekData(tid, at+offset, pointer[:]); err != nil {
				return ""
			}
			at = uintptr(binary.NativeEndian.Uint64(pointer[:]))
		}
	}
	var head [8]byte // struct nlmsghdr: length, type, flags
	if _, err := unix.PtracePeekData(tid, at, head[:]); err != nil {
		return ""
	}
	kind, flags := binary.NativeEndian.Uint16(head[4:]), binary.NativeEndian.Uint16(head[6:])
	const nfnlBatchBegin = 0x10
	if kind != nfnlBatchBegin && flags&(unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_APPEND) == 0 {
		return ""
	}
	return fmt.Sprintf("kernel: netlink message %d", kind)
}
