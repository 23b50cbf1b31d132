package store

import (
	"encoding/json"
	"fmt"
	"maps"
)

const (
	journalSlots = 64
	baseKey      = "local/base"
)

// journal keeps a set of named values in a file, so that a batch of changes costs one put however many they are: each
// batch is one record in a ring of slots, and when the ring is full all values together are written as the new base.
// What was written last counts. So a crash leaves either all of a batch or nothing of it.
//
//	local/base          {seq: 64, values: everything}
//	local/log/00 … 63   {seq: 65 …, values: what changed}   older than the base: ignored
//
// libkv writes one key per transaction, and a value's neighbours in boltdb's page are written with it: one key for each
// value would be an fsync for each.
type journal struct {
	file   *file
	seq    uint64                     // of the last record
	values map[string]json.RawMessage // all values, as they are on disk
}

type record struct {
	Seq    uint64                     `json:"seq"`
	Values map[string]json.RawMessage `json:"values"` // null: deleted
}

func slotKey(seq uint64) string { return fmt.Sprintf("local/log/%02d", seq%journalSlots) }

// openJournal reads the base and the records after it.
func openJournal(f *file) (*journal, error) {
	j := &journal{file: f, values: map[string]json.RawMessage{}}
	base, err := j.read(baseKey)
	if err != nil {
		return nil, err
	}
	j.apply(base)
	for {
		r, err := j.read(slotKey(j.seq + 1))
		if err != nil {
			return nil, err
		}
		if r.Seq != j.seq+1 {
			return j, nil
		}
		j.apply(r)
	}
}

func (j *journal) read(key string) (record, error) {
	var r record
	b, err := j.file.get(key)
	if err != nil || b == nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, damaged(key)
	}
	return r, nil
}

func (j *journal) apply(r record) {
	j.seq = r.Seq
	for name, value := range r.Values {
		if value == nil || string(value) == "null" {
			delete(j.values, name)
		} else {
			j.values[name] = value
		}
	}
}

// write puts the changes on disk; a nil value deletes. On an error nothing has changed.
func (j *journal) write(changes map[string]json.RawMessage) error {
	r := record{Seq: j.seq + 1, Values: changes}
	key := slotKey(r.Seq)
	stored := r
	if r.Seq%journalSlots == 0 {
		key = baseKey
		all := &journal{values: maps.Clone(j.values)}
		all.apply(r)
		stored.Values = all.values
	}
	b, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	if err := j.file.put(key, b); err != nil {
		return err
	}
	j.apply(r)
	return nil
}

// rewrite puts all values into a new file in the place of the old one, which is overwritten.
func (j *journal) rewrite() error {
	b, err := json.Marshal(record{Seq: j.seq, Values: j.values})
	if err != nil {
		return err
	}
	f, err := j.file.replace(map[string][]byte{formatKey: []byte(fileFormat), baseKey: b})
	if f != nil {
		j.file = f
	}
	return err
}
