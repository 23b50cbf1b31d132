package link

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"sync"

	"github.com/google/nftables"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ruleset is our nftables table in one namespace. It is replaced as a whole, in one transaction. That does not do for every packet:
// the chains of the old and of the new table are both hooks meanwhile, and one that has passed the new when it was not yet in
// force may come to the old when that is no more (net/netfilter/nf_tables_core.c, nft_do_chain, looks at the generation anew for each
// chain). Tables that accept what no rule of theirs drops have to be covered.
type ruleset struct {
	ns      netns.NsHandle
	family  nftables.TableFamily
	covered bool // a copy of the new table is in force while the table is replaced
	mu      sync.Mutex
	// written is what the table was last built from; seen is what the kernel listed right after that. As long as the
	// kernel still lists the same bytes, nobody has touched it. Both are empty at first: an agent's first call writes.
	written string
	seen    [sha256.Size]byte
}

// set replaces the table unless it was built from the same text and is untouched. Needs the lock.
func (s *ruleset) set(text string, build func(*nftables.Conn, *nftables.Table) error, sets ...string) error {
	if s.written == text {
		now, err := s.fingerprint(sets)
		if err == nil && now == s.seen {
			return nil
		}
	}
	s.written = ""
	if s.covered {
		if err := s.replace(coverTable, build); err != nil {
			return err
		}
	}
	if err := s.replace(NftTable, build); err != nil {
		return err
	}
	if s.covered {
		if err := s.replace(coverTable, nil); err != nil {
			return err
		}
	}
	var err error
	if s.seen, err = s.fingerprint(sets); err != nil {
		return fmt.Errorf("nftables table %s: read back: %w", NftTable, err)
	}
	s.written = text
	return nil
}

// replace makes the table of that name in one transaction, in place of one that may be there; without build there is none then.
func (s *ruleset) replace(name string, build func(*nftables.Conn, *nftables.Table) error) error {
	conn, table, err := s.open()
	if err != nil {
		return err
	}
	table.Name = name
	// Added first so that deleting it succeeds when there is none.
	conn.AddTable(table)
	conn.DelTable(table)
	if build != nil {
		conn.AddTable(table)
		if err := build(conn, table); err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("nftables table %s: %w", name, err)
	}
	return nil
}

// open begins a transaction on the table.
func (s *ruleset) open() (*nftables.Conn, *nftables.Table, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(s.ns)), nftables.WithSockOptions(roomy))
	if err != nil {
		return nil, nil, fmt.Errorf("nftables: %w", err)
	}
	return conn, &nftables.Table{Name: NftTable, Family: s.family}, nil
}

// transactionBuffer is room for a transaction in one send, and for the acknowledgement of each of its messages: some
// thousand networks.
const transactionBuffer = 8 << 20

// roomy gives a netlink socket of the library's its buffers.
func roomy[C interface {
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}](c C) error {
	return errors.Join(c.SetReadBuffer(transactionBuffer), c.SetWriteBuffer(transactionBuffer))
}

// fingerprint hashes what the kernel lists of our table: its flags, chains, rules, and the elements of the sets named.
// Raw bytes, because the library can write rules that it can't read. An error if the table is not there.
func (s *ruleset) fingerprint(sets []string) (sum [sha256.Size]byte, err error) {
	sock, err := openSocket(s.ns, unix.NETLINK_NETFILTER)
	if err != nil {
		return sum, err
	}
	defer func() { _ = sock.close() }()
	name := append([]byte(NftTable), 0)
	h := sha256.New()
	found := false
	// Tables, chains and rules all carry the table's name as attribute 1; chains of other tables are listed, too.
	for _, kind := range []uint16{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE} {
		var body []byte
		if kind == unix.NFT_MSG_GETRULE {
			body = attr(nil, unix.NFTA_RULE_TABLE, name)
		}
		err := s.list(sock, kind, body, h, func(entry []byte) bool {
			mine := false
			attrs(entry, func(kind uint16, v []byte) {
				mine = mine || kind == unix.NFTA_TABLE_NAME && bytes.Equal(v, name)
			})
			found = found || mine
			return mine
		})
		if err != nil {
			return sum, err
		}
	}
	for _, set := range sets {
		body := attr(nil, unix.NFTA_SET_ELEM_LIST_TABLE, name)
		body = attr(body, unix.NFTA_SET_ELEM_LIST_SET, append([]byte(set), 0))
		if err := s.list(sock, unix.NFT_MSG_GETSETELEM, body, h, func([]byte) bool { return true }); err != nil {
			return sum, err
		}
	}
	if !found {
		return sum, unix.ENOENT
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// nfgenmsg is the size of struct nfgenmsg; its last half is the ruleset's generation, which changes with everything.
const nfgenmsg = 4

// request is one of nftables' messages about the table's family.
func (s *ruleset) request(kind uint16, body []byte) message {
	return message{
		kind: unix.NFNL_SUBSYS_NFTABLES<<8 | kind,
		body: append([]byte{byte(s.family), unix.NFNETLINK_V0, 0, 0}, body...),
	}
}

// list adds to h the entries of an nftables list that match.
func (s *ruleset) list(sock *socket, kind uint16, body []byte, h hash.Hash, match func([]byte) bool) error {
	var all bytes.Buffer
	err := sock.dump(s.request(kind, body), all.Reset, func(entry []byte) {
		if len(entry) >= nfgenmsg && match(entry[nfgenmsg:]) {
			all.Write(entry[nfgenmsg:])
		}
	})
	h.Write(all.Bytes())
	return err
}
