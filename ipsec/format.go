package ipsec

import "fmt"

// A verb that does not suit a pointer within a value, %s for instance, makes fmt print what the pointer points to
// without asking any method below it, Key's included (fmt's badVerb). So whatever holds a Key formats itself: then fmt
// asks the pointer's own method first.

// Format implements fmt.Formatter: the same for every verb, without the key.
func (s SA) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%v %v %v %v}", s.SPI, s.Cipher, s.Key, s.Created)
}

// Format implements fmt.Formatter.
func (p Peer) Format(f fmt.State, verb rune) {
	type plain Peer
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), plain(p))
}

// Format implements fmt.Formatter.
func (c Config) Format(f fmt.State, verb rune) {
	type plain Config
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), plain(c))
}

// Format implements fmt.Formatter.
func (s SASet) Format(f fmt.State, verb rune) {
	type plain SASet
	_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), plain(s))
}
