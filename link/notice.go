package link

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// HostNotices hands fn what the kernel sends to groups of a netlink family in the host's namespace, one message after the
// other, each valid until fn returns, until ctx ends; then it returns nil. Messages are lost when fn is slow, so they tell
// sooner, not better, than what can be listed.
func (r *Router) HostNotices(ctx context.Context, family int, groups []int, fn func(kind uint16, body []byte)) error {
	s, err := subscribe(r.hostNS, family, groups)
	if err != nil {
		return fmt.Errorf("notices: %w", err)
	}
	defer func() { _ = s.close() }()
	wake, release, err := wakeAt(ctx)
	if err != nil {
		return fmt.Errorf("notices: %w", err)
	}
	defer release()
	fds := []unix.PollFd{{Fd: int32(wake), Events: unix.POLLIN}, {Fd: int32(s.fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if ctx.Err() != nil {
			return nil
		}
		if err == unix.EINTR {
			continue
		}
		if err == nil {
			err = s.receive(func(kind, _ uint16, _ uint32, body []byte) error {
				fn(kind, body)
				return nil
			})
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // which says that some are lost
			return fmt.Errorf("notices: %w", err)
		}
	}
}

// subscribe opens a socket that gets what the kernel sends to multicast groups of a family.
func subscribe(ns netns.NsHandle, family int, groups []int) (*socket, error) {
	s, err := openSocket(ns, family)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			_ = s.close()
			return nil, fmt.Errorf("netlink group %d: %w", g, err)
		}
	}
	return s, nil
}

// wakeAt gives a file descriptor that a poll finds readable once ctx has ended.
func wakeAt(ctx context.Context) (fd int, release func(), err error) {
	wake, end, err := os.Pipe()
	if err != nil {
		return -1, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = end.Close() })
	return int(wake.Fd()), func() {
		if stop() {
			_ = end.Close()
		}
		_ = wake.Close()
	}, nil
}
