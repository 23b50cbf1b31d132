package link

import "github.com/vishvananda/netns"

// Netlink is a netlink socket in one of the two namespaces, for a data plane whose messages are its own matter. Not for
// concurrent use.
type Netlink struct{ s *socket }

// Message is a netlink message without its header.
type Message struct {
	Kind, Flags uint16
	Body        []byte
}

// HostNetlink opens a socket of a netlink family (NETLINK_ROUTE, …) in the host's namespace.
func (r *Router) HostNetlink(family int) (*Netlink, error) { return openNetlink(r.hostNS, family) }

// Netlink opens a socket of a netlink family in the router namespace.
func (r *Router) Netlink(family int) (*Netlink, error) { return openNetlink(r.ns, family) }

func openNetlink(ns netns.NsHandle, family int) (*Netlink, error) {
	s, err := openSocket(ns, family)
	if err != nil {
		return nil, err
	}
	return &Netlink{s}, nil
}

// DoHost runs fn on a thread inside the host's namespace, as Do does in the router's.
func (r *Router) DoHost(fn func() error) error { return inNamespace(r.hostNS, fn) }

// Close closes the socket.
func (n *Netlink) Close() error { return n.s.close() }

// Batch sends messages at once and waits until the kernel has carried out all of them. fail gets the index of each that
// failed, and its errno. An error of Batch itself means that it is not known what was done, and that the socket can't be
// used any more.
func (n *Netlink) Batch(msgs []Message, fail func(i int, err error)) error {
	if len(msgs) == 0 {
		return nil
	}
	return n.s.batch(messages(msgs), fail)
}

// Query is Batch for requests that are answered: reply gets the answers, valid until it returns.
func (n *Netlink) Query(msgs []Message, reply func(i int, body []byte), fail func(i int, err error)) error {
	if len(msgs) == 0 {
		return nil
	}
	return n.s.exchange(messages(msgs), reply, fail)
}

// Dump fetches a list, again if it changes meanwhile; entry gets each entry, valid until it returns. reset is called
// before each attempt.
func (n *Netlink) Dump(m Message, reset func(), entry func(body []byte)) error {
	return n.s.dump(message{kind: m.Kind, flags: m.Flags, body: m.Body}, reset, entry)
}

func messages(msgs []Message) []message {
	out := make([]message, len(msgs))
	for i, m := range msgs {
		out[i] = message{kind: m.Kind, flags: m.Flags, body: m.Body}
	}
	return out
}

// Attr appends a netlink attribute.
func Attr(b []byte, kind uint16, value []byte) []byte { return attr(b, kind, value) }

// Attrs hands each netlink attribute of b to fn.
func Attrs(b []byte, fn func(kind uint16, value []byte)) { attrs(b, fn) }
