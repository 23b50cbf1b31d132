package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// replace makes a new file with these values in the place of this one, and overwrites this one, which is closed. On an error
// before that nothing has changed.
func (f *file) replace(values map[string][]byte) (*file, error) {
	var tmp *os.File
	err := f.around.change("file: make", func() (err error) {
		tmp, err = os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+unfinished+"*") // 0600
		return err
	})
	if err != nil {
		return nil, err
	}
	defer discard(tmp.Name(), f.around)
	if err := tmp.Close(); err != nil {
		return nil, err
	}
	next, err := openBolt(tmp.Name(), f.around)
	if err != nil {
		return nil, err
	}
	old, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if err != nil {
		next.close()
		return nil, err
	}
	defer old.Close()
	for key, value := range values {
		err = errors.Join(err, next.put(key, value))
	}
	if err == nil {
		err = f.around.change("file: replace", func() error { return os.Rename(tmp.Name(), f.path) })
	}
	if err != nil {
		next.close()
		return nil, err
	}
	next.path = f.path
	f.close()
	if err := errors.Join(f.around.change("file: overwrite", func() error { return overwrite(old) }), syncDir(filepath.Dir(f.path))); err != nil {
		return next, fmt.Errorf("what was in %s before is not overwritten: %w", f.path, err)
	}
	return next, nil
}

// overwrite fills a file with zeros.
func overwrite(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < info.Size(); {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), info.Size()-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return f.Sync()
}
