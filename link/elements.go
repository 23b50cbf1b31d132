package link

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// elements hands the elements of one of the table's sets to fn: the key, valid until fn returns, and whether it only ends
// an interval. reset is called before each attempt. No table, no set: no elements.
func (s *ruleset) elements(set string, reset func(), fn func(key []byte, end bool)) error {
	sock, err := openSocket(s.ns, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer func() { _ = sock.close() }()
	body := attr(nil, unix.NFTA_SET_ELEM_LIST_TABLE, append([]byte(NftTable), 0))
	body = attr(body, unix.NFTA_SET_ELEM_LIST_SET, append([]byte(set), 0))
	err = sock.dump(s.request(unix.NFT_MSG_GETSETELEM, body), reset, func(entry []byte) { eachElement(entry[nfgenmsg:], fn) })
	if errors.Is(err, unix.ENOENT) {
		reset()
		return nil
	}
	return err
}

// eachElement decodes one message of a set's list (nf_tables(7): a list of elements, each with key and flags).
func eachElement(b []byte, fn func(key []byte, end bool)) {
	attrs(b, func(kind uint16, elements []byte) {
		if kind != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			return
		}
		attrs(elements, func(_ uint16, element []byte) {
			var key []byte
			end := false
			attrs(element, func(kind uint16, v []byte) {
				switch kind {
				case unix.NFTA_SET_ELEM_KEY:
					attrs(v, func(kind uint16, v []byte) {
						if kind == unix.NFTA_DATA_VALUE {
							key = v
						}
					})
				case unix.NFTA_SET_ELEM_FLAGS:
					end = len(v) == 4 && binary.BigEndian.Uint32(v)&unix.NFT_SET_ELEM_INTERVAL_END != 0
				}
			})
			if key != nil {
				fn(key, end)
			}
		})
	})
}
