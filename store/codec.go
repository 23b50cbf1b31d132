package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// The facts' JSON methods go through types without methods, so that encoding/json does not call them again.
type (
	plainHost     Host
	plainNetwork  Network
	plainClaim    Claim
	plainEndpoint Endpoint
)

var (
	hostFields     = fieldNames[Host]()
	networkFields  = fieldNames[Network]()
	claimFields    = fieldNames[Claim]()
	endpointFields = fieldNames[Endpoint]()
)

// MarshalJSON writes the fact with its Extra fields, always the same bytes for the same fact.
func (h Host) MarshalJSON() ([]byte, error) { return encodeFact(plainHost(h), h.Extra) }

// MarshalJSON writes the fact with its Extra fields, always the same bytes for the same fact.
func (n Network) MarshalJSON() ([]byte, error) { return encodeFact(plainNetwork(n), n.Extra) }

// MarshalJSON writes the fact with its Extra fields, always the same bytes for the same fact.
func (c Claim) MarshalJSON() ([]byte, error) { return encodeFact(plainClaim(c), c.Extra) }

// MarshalJSON writes the fact with its Extra fields, always the same bytes for the same fact.
func (e Endpoint) MarshalJSON() ([]byte, error) { return encodeFact(plainEndpoint(e), e.Extra) }

// UnmarshalJSON reads the fact and keeps unknown fields in Extra. It checks only the types.
func (h *Host) UnmarshalJSON(b []byte) error {
	return decodeFact(b, (*plainHost)(h), &h.Extra, hostFields)
}

// UnmarshalJSON reads the fact and keeps unknown fields in Extra. It checks only the types.
func (n *Network) UnmarshalJSON(b []byte) error {
	return decodeFact(b, (*plainNetwork)(n), &n.Extra, networkFields)
}

// UnmarshalJSON reads the fact and keeps unknown fields in Extra. It checks only the types.
func (c *Claim) UnmarshalJSON(b []byte) error {
	return decodeFact(b, (*plainClaim)(c), &c.Extra, claimFields)
}

// UnmarshalJSON reads the fact and keeps unknown fields in Extra. It checks only the types.
func (e *Endpoint) UnmarshalJSON(b []byte) error {
	return decodeFact(b, (*plainEndpoint)(e), &e.Extra, endpointFields)
}

func encodeFact(plain any, extra map[string]json.RawMessage) ([]byte, error) {
	b, err := json.Marshal(plain)
	if err != nil || len(extra) == 0 {
		return b, err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for name, value := range extra {
		if _, known := all[name]; !known {
			all[name] = value
		}
	}
	return json.Marshal(all) // sorts by name
}

// decodeFact reads strictly first: facts with unknown fields are rare, and only they pay for the second pass.
func decodeFact(b []byte, plain any, extra *map[string]json.RawMessage, known map[string]bool) error {
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if strict.Decode(plain) == nil {
		return nil
	}
	reflect.ValueOf(plain).Elem().SetZero() // what the strict pass got through
	if err := json.Unmarshal(b, plain); err != nil {
		return err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	for name, value := range all {
		if known[strings.ToLower(name)] { // encoding/json matches names regardless of case
			continue
		}
		if *extra == nil {
			*extra = map[string]json.RawMessage{}
		}
		(*extra)[name] = value
	}
	return nil
}

func fieldNames[T any]() map[string]bool {
	names := map[string]bool{}
	for field := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names[name] = true
	}
	return names
}

func mustEncode(fact any) []byte {
	var b []byte
	var err error
	if m, ok := fact.(json.Marshaler); ok {
		b, err = m.MarshalJSON() // json.Marshal would go over the result once more
	} else {
		b, err = json.Marshal(fact)
	}
	if err != nil { // facts hold nothing that JSON can't; Extra was valid JSON when it was read
		panic(fmt.Sprintf("fact %T: %v", fact, err))
	}
	return b
}
