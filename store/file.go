package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	libkv "github.com/docker/libkv/store"
	"github.com/docker/libkv/store/boltdb"
)

const (
	bucket      = "meshsec"
	formatKey   = "format"
	fileFormat  = "1"
	sumLen      = 8 // bytes of SHA-256 in front of every value
	lockTimeout = time.Second
	unfinished  = ".new-" // what follows a file's name in those of files that are to become it
)

// ErrDamaged says that a checkpoint can't be read. The file is left as it is.
var ErrDamaged = errors.New("damaged or unreadable")

// file is a libkv boltdb file with a checksum on every value. Each put is one transaction and one fsync.
type file struct {
	path   string
	kv     libkv.Store
	around Around
}

// openFile opens the file, or creates it so that it is there either complete or not at all.
func openFile(path string, around Around) (*file, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := createFile(path, around); err != nil {
			return nil, fmt.Errorf("checkpoint %s: %w", path, err)
		}
	}
	f, err := openBolt(path, around)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", path, err)
	}
	format, err := f.get(formatKey)
	switch {
	case err != nil:
		err = fmt.Errorf("checkpoint %s: %w", path, err)
	case format == nil:
		err = fmt.Errorf("checkpoint %s: %w: it has no format", path, ErrDamaged)
	case string(format) != fileFormat:
		err = fmt.Errorf("checkpoint %s: its format %.20q is newer than this version of meshsec", path, format)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	if err := f.sweep(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// sweep removes what an agent that was killed has left of files that were to become this one, which is locked.
func (f *file) sweep() error {
	dir, base := filepath.Split(f.path)
	rests, err := os.ReadDir(filepath.Clean(dir))
	for _, rest := range rests {
		if strings.HasPrefix(rest.Name(), base+unfinished) {
			err = errors.Join(err, f.around.change("file: sweep", func() error { return os.Remove(filepath.Join(dir, rest.Name())) }))
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("checkpoint %s: what a crash has left: %w", f.path, err)
	}
	return nil
}

func createFile(path string, around Around) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// boltdb would create it readable for all; it leaves the mode of a file that is there.
	var tmp *os.File
	err := around.change("file: make", func() (err error) {
		tmp, err = os.CreateTemp(filepath.Dir(path), filepath.Base(path)+unfinished+"*") // 0600
		return err
	})
	if err != nil {
		return err
	}
	defer discard(tmp.Name(), around)
	if err := tmp.Close(); err != nil {
		return err
	}
	f, err := openBolt(tmp.Name(), around)
	if err != nil {
		return err
	}
	err = f.put(formatKey, []byte(fileFormat))
	f.close()
	if err != nil {
		return err
	}
	// A link fails where a rename would replace the file that another agent has just made.
	err = around.change("file: link", func() error { return os.Link(tmp.Name(), path) })
	if _, there := os.Stat(path); err != nil && there != nil { // else: of another agent, which may have discarded ours
		return err
	}
	return syncDir(filepath.Dir(path))
}

// discard removes a file under a name that is not its last.
func discard(tmp string, around Around) {
	_ = around.change("file: discard", func() error { return os.Remove(tmp) })
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func openBolt(path string, around Around) (f *file, err error) {
	defer guard(&err)
	kv, err := boltdb.New([]string{path}, &libkv.Config{Bucket: bucket, PersistConnection: true, ConnectionTimeout: lockTimeout})
	switch {
	case err != nil && err.Error() == "timeout":
		return nil, errors.New("in use: another meshsec agent holds it")
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return &file{path: path, kv: kv, around: around}, nil
}

// get returns nil when there is no such key.
func (f *file) get(key string) (value []byte, err error) {
	defer guard(&err)
	pair, err := f.kv.Get(key)
	if errors.Is(err, libkv.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(pair.Value) < sumLen {
		return nil, damaged(key)
	}
	value = pair.Value[sumLen:]
	if sum := sha256.Sum256(value); string(sum[:sumLen]) != string(pair.Value[:sumLen]) {
		return nil, damaged(key)
	}
	return value, nil
}

// put returns when the value is on the disk.
func (f *file) put(key string, value []byte) (err error) {
	defer guard(&err)
	sum := sha256.Sum256(value)
	err = f.around.change("file: "+key, func() error { return f.kv.Put(key, append(sum[:sumLen:sumLen], value...), nil) })
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk of %s is full", f.path)
	case err != nil:
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

func (f *file) close() {
	var err error
	defer guard(&err) // of a damaged file
	f.kv.Close()
}

func damaged(key string) error {
	return fmt.Errorf("%w: the checksum of %q is wrong", ErrDamaged, key)
}

// guard turns what boltdb does on a damaged file into an error: it panics, or it reads beyond the end of its map.
func guard(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, cause)
	}
}

// withFaults runs fn so that a read beyond the end of a cut-off, mapped file is a panic and not the end of the process.
func withFaults[T any](fn func() (T, error)) (T, error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return fn()
}
