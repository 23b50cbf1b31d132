package handshake

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/flynn/noise"
)

const (
	// maxPPKs is how many pre-shared keys a host accepts: the present one, the former one, and room.
	maxPPKs   = 4
	ppkIDSize = 8
)

// ppkID names a PPK within one init.
type ppkID [ppkIDSize]byte

// ppks are those of a host, never none.
func ppks(id Identity) []Secret {
	if len(id.PPKs) == 0 {
		return make([]Secret, 1)
	}
	return append([]Secret(nil), id.PPKs...)
}

// namePPK gives the ID of a PPK in the init that has an encapsulation key: fresh in each, so that nobody can follow it, and
// of use only to whom has the PPK.
func namePPK(ppk Secret, kem []byte) (id ppkID) {
	h := hmac.New(sha256.New, ppk.Bytes[:])
	h.Write([]byte("meshsec ppk"))
	h.Write(kem)
	copy(id[:], h.Sum(nil))
	return id
}

// ppkIDs names the PPKs of this host in an init; nil: it has none.
func (m *Machine) ppkIDs(kem []byte) (ids []ppkID) {
	if !m.hasPPK() {
		return nil
	}
	for _, ppk := range m.ppks {
		ids = append(ids, namePPK(ppk, kem))
	}
	return ids
}

func (m *Machine) hasPPK() bool { return len(m.ppks) > 1 || m.ppks[0] != Secret{} }

// cutPPKs parses the end of an init.
func cutPPKs(b []byte) (ids []ppkID, ok bool) {
	if len(b) == 0 || b[0] == 0 {
		return nil, true
	}
	n := int(b[0])
	if n > maxPPKs || len(b) < 1+n*ppkIDSize {
		return nil, false
	}
	for i := range n {
		ids = append(ids, ppkID(b[1+i*ppkIDSize:]))
	}
	return ids, true
}

// choosePPK sets the PPK with which an init is answered: the first of the initiator's that this host has. It says whether there is
// one.
func (m *Machine) choosePPK(hs *noise.HandshakeState, init initPayload) bool {
	offered := init.ppks
	if offered == nil {
		offered = []ppkID{namePPK(Secret{}, init.kem)}
	}
	for _, id := range offered {
		for _, ppk := range m.ppks {
			if own := namePPK(ppk, init.kem); hmac.Equal(own[:], id[:]) {
				return hs.SetPresharedKey(ppk.Bytes[:]) == nil
			}
		}
	}
	return false
}

// ppkNote says why there was none, for the status.
func (m *Machine) ppkNote(init initPayload) string {
	switch {
	case init.ppks == nil:
		return "ppk differs: it has no PPK, this host has one"
	case !m.hasPPK():
		return "ppk differs: it has a PPK, this host has none"
	}
	return "ppk differs: none of its PPK and PPK_OLD is one of this host's"
}

// readResponse opens a response with whichever PPK the responder took.
func (m *Machine) readResponse(hs *noise.HandshakeState, body []byte) (payload []byte, c1, c2 *noise.CipherState, err error) {
	for _, ppk := range m.ppks {
		if err = hs.SetPresharedKey(ppk.Bytes[:]); err != nil {
			return nil, nil, nil, err
		}
		if payload, c1, c2, err = hs.ReadMessage(nil, body); err == nil {
			return payload, c1, c2, nil
		}
	}
	return nil, nil, nil, err
}
