package xfrm

import (
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// FuzzMessages: what comes from the kernel is trusted, but another kernel's messages are longer, shorter or unknown.
func FuzzMessages(f *testing.F) {
	kinds := []uint16{nl.XFRM_MSG_EXPIRE, nl.XFRM_MSG_MAPPING, nl.XFRM_MSG_NEWSA, nl.XFRM_MSG_DELSA, nl.XFRM_MSG_POLEXPIRE, 0}
	f.Add(uint16(0), []byte{})
	for _, size := range []int{nl.SizeofXfrmUsersaInfo, nl.SizeofXfrmUserpolicyInfo, unix.SizeofIfInfomsg, 40} {
		attr := []byte{8, 0, nl.XFRMA_IF_ID, 0, 1, 0, 0, 0, 3, 0, nl.XFRMA_REPLAY_ESN_VAL, 0}
		f.Add(uint16(size), append(make([]byte, size), attr...))
	}
	f.Fuzz(func(_ *testing.T, kind uint16, b []byte) {
		_, _ = parseNotice(kinds[int(kind)%len(kinds)], b)
		_, _ = parseState(b)
		_, _ = parsePolicy(b)
		_, _ = parseDevice(b)
	})
}
