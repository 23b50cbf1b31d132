package store

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
)

var (
	validName   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$`)
	validHostID = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

// CheckName says whether name may be the name of an environment or a network: 1 to 64 letters, digits, '_', '.' or '-',
// of which the first is a letter or a digit. Such a name is one element of an etcd key and of a path.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("name %.70q: only letters, digits, '_', '.' and '-' are allowed, at most 64, a letter or digit first", name)
	}
	return nil
}

// CheckHostID says whether id may be a host's ID: 16 lower-case hex digits.
func CheckHostID(id string) error {
	if !validHostID.MatchString(id) {
		return fmt.Errorf("host ID %.40q: it must be 16 lower-case hex digits", id)
	}
	return nil
}

// NewHostID returns a random host ID.
func NewHostID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
