package main

import (
	"encoding/hex"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// frame sends the arguments, hexadecimal Ethernet frames, as they are.
func frame(o options) error {
	link, err := net.InterfaceByName(o.device)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, text := range o.args {
		b, err := hex.DecodeString(text)
		if err != nil {
			return fmt.Errorf("frame %q: %w", text, err)
		}
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
			return err
		}
	}
	return nil
}
