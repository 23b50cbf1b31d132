package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// endpointEnd is what EndpointLink makes of a Docker endpoint ID.
var endpointEnd = regexp.MustCompile(`^` + LinkPrefix + `[0-9a-f]{10}$`)

// Purge removes what this package has made on a host, and nothing else: the router namespace bound at path with all that
// is in it (containers lose their links), veth ends that wait in the host's namespace, and at last the guard. What is
// gone already is no error; it goes on after a failure. No agent may run. The calling thread's namespace is the host's.
func Purge(path string) error {
	return errors.Join(purgeNamespace(path), purgeVeths(), purgeGuard())
}

// purgeNamespace undoes makeNamespace. Agents that raced may have bound more than one namespace over each other.
func purgeNamespace(path string) error {
	for {
		bound, err := isNamespace(path)
		if err != nil {
			return err
		}
		if !bound {
			break
		}
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount router namespace %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("router namespace: %w", err)
	}
	return nil
}

func purgeVeths() error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	for _, l := range links {
		if l.Type() != "veth" || !endpointEnd.MatchString(l.Attrs().Name) {
			continue
		}
		// The namespace's end, which takes some moments, may take the pair along.
		if err := h.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("delete %s: %w", l.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}

func purgeGuard() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	for _, name := range []string{NftTable, coverTable} {
		table := &nftables.Table{Family: nftables.TableFamilyINet, Name: name}
		c.AddTable(table) // so that deleting it succeeds when there is none
		c.DelTable(table)
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return nil
}
