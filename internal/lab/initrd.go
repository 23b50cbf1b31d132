package main

import (
	"fmt"
	"io"
	"path"
)

// file is one regular file of an initramfs.
type file struct {
	name string // path without leading slash
	data []byte
	mode uint32 // permission bits
}

// writeInitrd writes an uncompressed initramfs (a cpio archive in the "newc" format, see the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst) with the files and the directories above them.
func writeInitrd(w io.Writer, files []file) error {
	const directory, regular = 0o040000, 0o100000
	c := &cpio{w: w}
	seen := map[string]bool{".": true}
	for _, f := range files {
		if dir := path.Dir(f.name); !seen[dir] {
			seen[dir] = true
			c.entry(dir, directory|0o755, nil)
		}
		c.entry(f.name, regular|f.mode, f.data)
	}
	c.entry("TRAILER!!!", 0, nil)
	return c.err
}

// cpio writes entries and keeps the first error.
type cpio struct {
	w     io.Writer
	inode int
	err   error
}

func (c *cpio) entry(name string, mode uint32, data []byte) {
	c.inode++
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	c.write([]byte(head))
	c.write(data)
}

// write pads to four bytes, as both headers and contents must be.
func (c *cpio) write(data []byte) {
	if c.err != nil {
		return
	}
	if _, c.err = c.w.Write(data); c.err == nil {
		_, c.err = c.w.Write(make([]byte, -len(data)&3))
	}
}
