package metadata

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"sigs.k8s.io/yaml"
)

// writer writes a value part by part, so that no more of it than one container is in memory besides what is written, and
// ends with errTooLong at maxAnswer.
type writer struct {
	b   bytes.Buffer
	err error
}

// full tells whether writing is to end.
func (w *writer) full() bool {
	if w.err == nil && w.b.Len() > maxAnswer {
		w.err = errTooLong
	}
	return w.err != nil
}

func (w *writer) json(value any) {
	switch x := force(value).(type) {
	case *many:
		w.b.WriteByte('[')
		for i := 0; i < x.n && !w.full(); i++ {
			if i > 0 {
				w.b.WriteByte(',')
			}
			w.json(x.at(i))
		}
		w.b.WriteByte(']')
	case node:
		if !deep(x) {
			w.leaf(json.Marshal(x))
			break
		}
		before := byte('{')
		for key, part := range parts(x) {
			if w.full() {
				break
			}
			w.b.WriteByte(before)
			w.leaf(json.Marshal(key))
			w.b.WriteByte(':')
			w.json(part)
			before = ','
		}
		w.b.WriteByte('}')
	default:
		w.leaf(json.Marshal(x))
	}
	w.full()
}

// yaml writes lines that begin with indent.
func (w *writer) yaml(value any, indent string) {
	switch x := force(value).(type) {
	case *many:
		if x.n == 0 {
			w.lines(list{}, indent)
		}
		for i := 0; i < x.n && !w.full(); i++ {
			begin := w.b.Len() + len(indent)
			w.yaml(x.at(i), indent+"  ")
			if w.b.Len() > begin {
				w.b.Bytes()[begin] = '-'
			}
		}
	case node:
		if !deep(x) {
			w.lines(x, indent)
			break
		}
		for key, part := range parts(x) {
			if w.full() {
				break
			}
			all, isMany := part.(*many)
			inner, isNode := part.(node)
			switch {
			case isMany && all.n > 0:
				w.b.WriteString(indent + key + ":\n")
				w.yaml(all, indent)
			case isMany:
				w.lines(node{key: list{}}, indent)
			case isNode && deep(inner):
				w.b.WriteString(indent + key + ":\n")
				w.yaml(inner, indent+"  ")
			default:
				w.lines(node{key: part}, indent)
			}
		}
	default:
		w.lines(x, indent)
	}
	w.full()
}

// lines writes a value as YAML, indented. Lines of nothing stay so: they are part of a text.
func (w *writer) lines(value any, indent string) {
	b, err := yaml.Marshal(value)
	if indent != "" {
		var to bytes.Buffer
		for line := range bytes.Lines(b) {
			if len(line) > 1 {
				to.WriteString(indent)
			}
			to.Write(line)
		}
		b = to.Bytes()
	}
	w.leaf(b, err)
}

func (w *writer) leaf(b []byte, err error) {
	if w.err == nil {
		w.err = err
	}
	w.b.Write(b)
}

// deep tells whether a node has parts that are yet to be made.
func deep(n node) bool {
	for _, part := range n {
		switch part.(type) {
		case lazy, *many:
			return true
		}
	}
	return false
}

// parts are those of a node that are there, made, sorted by name.
func parts(n node) func(yield func(string, any) bool) {
	return func(yield func(string, any) bool) {
		for _, key := range slices.Sorted(maps.Keys(n)) {
			if part := force(n[key]); part != nil && !yield(key, part) {
				return
			}
		}
	}
}

// least is how many bytes a value has at least in a format, found without writing it.
func least(value any, format string) int {
	if format == formatText {
		return 3 * count(value)
	}
	switch x := force(value).(type) {
	case *many:
		return x.least
	case node:
		all := 0
		for _, part := range x {
			all += least(part, format)
		}
		return all
	}
	return 0
}
