package teststore

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Backup stops etcd for a moment, copies its data, and returns the copy's path.
func (e *Environment) Backup() string {
	e.t.Helper()
	e.backups++
	dir := fmt.Sprintf("%s-backup-%d", e.config.Dir, e.backups)
	e.etcd.Close()
	if err := os.CopyFS(dir, os.DirFS(e.config.Dir)); err != nil {
		e.t.Fatal(err)
	}
	e.start()
	return dir
}

// Restore puts a Backup in the place of etcd's data: what was written since is lost. The backup can be used again.
func (e *Environment) Restore(dir string) {
	e.t.Helper()
	e.etcd.Close()
	if err := errors.Join(os.RemoveAll(e.config.Dir), os.CopyFS(e.config.Dir, os.DirFS(dir))); err != nil {
		e.t.Fatal(err)
	}
	e.start()
}

// Remove removes another host from the environment, as `meshsec host rm` on this host does.
func (h *Host) Remove(ctx context.Context, other string) error {
	return h.Store.Revoke(ctx, h.e.ca, other)
}
