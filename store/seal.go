package store

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A signed value is the fact's JSON object with the signature as its last member. Signed are the environment, the key and
// every byte of the value before the signature, so that neither another reading of the JSON nor another key can make
// something else of it, and a reader that does not know all fields can still check it.
const (
	sigContext = "meshsec fact 1"
	sigHead    = `,"sig":"`
	sigTail    = `"}`
)

var sigChars = base64.StdEncoding.EncodedLen(ed25519.SignatureSize)

// errUnsigned says that a value does not end in a signature.
var errUnsigned = errors.New("it is not signed")

// signedText is what a signature is made of. Environments and keys hold no NUL.
func signedText(environment, key string, body []byte) []byte {
	text := make([]byte, 0, len(sigContext)+len(environment)+len(key)+len(body)+3)
	for _, part := range []string{sigContext, environment, key} {
		text = append(append(text, part...), 0)
	}
	return append(text, body...)
}

// seal adds the signature to body, an object that has none.
func seal(signer ed25519.PrivateKey, environment, key string, body []byte) []byte {
	sig := ed25519.Sign(signer, signedText(environment, key, body))
	value := make([]byte, 0, len(body)+len(sigHead)+sigChars+len(sigTail))
	value = append(append(value, body[:len(body)-1]...), sigHead...)
	return append(base64.StdEncoding.AppendEncode(value, sig), sigTail...)
}

// unseal checks the signature of a value.
func unseal(public ed25519.PublicKey, environment, key string, value []byte) error {
	at := len(value) - len(sigTail) - sigChars
	if at < len(sigHead) || !bytes.HasSuffix(value[:at], []byte(sigHead)) || !bytes.HasSuffix(value, []byte(sigTail)) {
		return errUnsigned
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(string(value[at : at+sigChars]))
	if err != nil || len(sig) != ed25519.SignatureSize {
		return errUnsigned
	}
	body := append(bytes.Clone(value[:at-len(sigHead)]), '}')
	if !ed25519.Verify(public, signedText(environment, key, body), sig) {
		return errors.New("its signature is wrong")
	}
	return nil
}

// sealer signs this host's facts. The same fact gives the same bytes, and is signed once.
type sealer struct {
	mu     sync.Mutex
	pem    []byte
	key    ed25519.PrivateKey
	sealed map[string]sealedFact // by key; what the last plan wanted
	fresh  map[string]sealedFact // what the present one wants
	host   hostSequence
}

type sealedFact struct {
	body, value []byte
	endpoint    *Endpoint // that it was made of; nil: of something else
}

// sealFact signs a fact whose Sig is empty, as this host.
func (s *Store) sealFact(key string, fact any) ([]byte, error) {
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	if err := s.sealer.be(s.cp.Local().Identity); err != nil {
		return nil, fmt.Errorf("fact %s can't be signed: identity of this host: %w", key, err)
	}
	body := mustEncode(fact)
	done, ok := s.sealer.sealed[key]
	if !ok || !bytes.Equal(done.body, body) {
		done = sealedFact{body: body, value: seal(s.sealer.key, s.cfg.Environment, key, body)}
	}
	done.endpoint = nil
	s.sealer.keep(key, done)
	return done.value, nil
}

// sealEndpoint is sealFact for an endpoint. One that is as it was is not even encoded: a host has many, and one changes.
func (s *Store) sealEndpoint(key string, e Endpoint) ([]byte, error) {
	s.sealer.mu.Lock()
	done, ok := s.sealer.sealed[key]
	if ok = ok && bytes.Equal(s.sealer.pem, s.cp.Local().Identity.Key.Bytes) && done.endpoint != nil && sameEndpoint(*done.endpoint, e); ok {
		s.sealer.keep(key, done)
	}
	s.sealer.mu.Unlock()
	if ok {
		return done.value, nil
	}
	value, err := s.sealFact(key, e)
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	if done, ok := s.sealer.fresh[key]; ok {
		done.endpoint = &e
		s.sealer.fresh[key] = done
	}
	return value, err
}

// sameEndpoint says that two facts, both without a signature, are certainly equal.
func sameEndpoint(a, b Endpoint) bool {
	return a.V == b.V && a.ID == b.ID && a.Host == b.Host && a.Network == b.Network && a.Addr == b.Addr && a.MAC == b.MAC && a.Name == b.Name &&
		a.ContainerID == b.ContainerID && a.Service == b.Service && a.Project == b.Project && a.Since == b.Since && slices.Equal(a.Aliases, b.Aliases) &&
		maps.Equal(a.Labels, b.Labels) && slices.Equal(a.Ports, b.Ports) && len(a.Extra) == 0 && len(b.Extra) == 0
}

// be makes the sealer sign as who this host is by now.
func (l *sealer) be(id Identity) error {
	if l.key != nil && bytes.Equal(l.pem, id.Key.Bytes) {
		return nil
	}
	_, signer, err := keyPair(id.Cert, id.Key)
	if err != nil {
		return err
	}
	l.pem, l.key, l.sealed = id.Key.Bytes, signer.(ed25519.PrivateKey), nil
	return nil
}

// keep notes what the present plan wants.
func (l *sealer) keep(key string, done sealedFact) {
	if l.fresh != nil {
		l.fresh[key] = done
	}
}

// remember brackets a plan: what it does not seal is forgotten.
func (l *sealer) remember() (end func()) {
	l.mu.Lock()
	l.fresh = map[string]sealedFact{}
	l.mu.Unlock()
	return func() {
		l.mu.Lock()
		l.sealed, l.fresh = l.fresh, nil
		l.mu.Unlock()
	}
}

// hostSequence numbers the versions of this host's fact.
type hostSequence struct {
	mu   sync.Mutex
	seq  uint64
	body []byte // of the fact with that number, without number and signature
}

// next completes the host's fact: its certificate, fields of newer versions, and a number above that of every fact of
// this host that differs. have is the one in etcd. The numbers are times (ms), so that a host which lost its state and
// whose fact was taken away does not begin below what others remember.
func (q *hostSequence) next(h Host, id Identity, have Host) Host {
	q.mu.Lock()
	defer q.mu.Unlock()
	if der, err := CertDER(id.Cert); err == nil {
		h.Cert = der
	}
	h.Authority = !id.CAKey.Empty()
	if h.Extra == nil {
		h.Extra = have.Extra
	}
	plain := func(h Host) []byte {
		h.Seq, h.Sig = 0, nil
		return mustEncode(h)
	}
	if have.Seq > q.seq {
		q.seq, q.body = have.Seq, plain(have)
	}
	if body := plain(h); !bytes.Equal(body, q.body) {
		q.seq, q.body = max(q.seq+1, uint64(time.Now().UnixMilli())), body
	}
	h.Seq, h.Sig = q.seq, nil
	return h
}
