package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// tail is what has changed since the snapshot was last written, as a file that grows by a line for each change: an agent that is
// killed must know at its next start what it has set routes by, and the whole snapshot is too much to write each time. It is not
// synced: the containers end with the machine. Each line is a checksum, a space and JSON; a line that is not whole ends the file.
type tail struct {
	path   string
	file   *os.File // nil: nothing can be added until the next begin
	size   int64    // in bytes
	around Around
}

// tailMax bounds the file, in bytes: past it changes wait for the whole snapshot.
const tailMax = 64 << 20

// change is a line: what has become of facts, and what the Snapshot stands for with it.
type change struct {
	Revision  int64       `json:"revision"`
	ClusterID uint64      `json:"cluster_id"`
	Taken     time.Time   `json:"taken"`
	Mark      mark        `json:"mark,omitzero"`
	Facts     []savedFact `json:"facts"` // without a value: gone
}

// tailHead is the first line.
type tailHead struct {
	Base string `json:"base"` // of the snapshot that the changes go on from
}

// begin makes it an empty one, for changes from the snapshot with this ID.
func (t *tail) begin(base string) error {
	t.end()
	err := t.around.change("tail: begin", func() (err error) {
		t.file, err = os.OpenFile(t.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
		return err
	})
	if err != nil {
		t.end()
		return err
	}
	t.size = 0
	return t.add(tailHead{base})
}

// resume goes on with one of which size bytes were found good, if any were.
func (t *tail) resume() error {
	if t.size == 0 {
		return nil
	}
	file, err := os.OpenFile(t.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if err := t.around.change("tail: cut", func() error { return file.Truncate(t.size) }); err != nil {
		return errors.Join(err, file.Close())
	}
	t.file = file
	return nil
}

// add writes a line. After an error nothing more is added: what followed a line that is not whole would not be read.
func (t *tail) add(line any) error {
	if t.file == nil || t.size > tailMax {
		return nil
	}
	text, err := json.Marshal(line)
	if err == nil {
		err = t.around.change("tail: add", func() error {
			n, err := fmt.Fprintf(t.file, "%08x %s\n", crc32.ChecksumIEEE(text), text)
			t.size += int64(n)
			return err
		})
	}
	if err != nil {
		t.end()
		return fmt.Errorf("changes since the snapshot: %w", err)
	}
	return nil
}

func (t *tail) end() {
	if t.file != nil {
		_ = t.file.Close()
		t.file = nil
	}
}

// readTail calls each for the changes from the snapshot with this ID, in their order, and tells how many bytes of the file are good; 0:
// it is not there, or belongs to another snapshot.
func readTail(path, base string, each func(change)) (size int64, err error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer file.Close()
	lines := bufio.NewReader(file)
	var head tailHead
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return size, nil
		} else if err != nil {
			return size, err
		}
		sum, text, _ := bytes.Cut(line, []byte{' '})
		text = bytes.TrimSuffix(text, []byte{'\n'})
		if string(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(text)) {
			return size, nil
		}
		if size == 0 {
			if json.Unmarshal(text, &head) != nil || head.Base != base {
				return 0, nil
			}
		} else {
			var c change
			if json.Unmarshal(text, &c) != nil {
				return size, nil
			}
			each(c)
		}
		size += int64(len(line))
	}
}
