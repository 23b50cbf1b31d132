package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// drain bounds the wait for calls in progress when the server stops, in which those that wait for something come to their end. dockerd
// kills a plugin 10 s after SIGTERM, so one that queues in the kernel for longer is cut off.
const drain = Limit + time.Second

// dialTimeout bounds the question whether somebody listens on a socket's file; a full backlog would block the dial.
const dialTimeout = time.Second

// Listen takes the socket: a file that nobody listens on any more is replaced, another live agent's is an error. It is
// apart from Serve for callers that must know that dockerd can dial before they go on.
func (s *Server) Listen() error {
	if s.listener != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.sock), 0o755); err != nil {
		return fmt.Errorf("plugin socket: %w", err)
	}
	if err := clear(s.sock); err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.sock, Net: "unix"})
	if err != nil {
		return fmt.Errorf("plugin socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // remove does that, and looks first whether the file is still ours
	err = os.Chmod(s.sock, 0o660)
	if err == nil {
		s.file, err = os.Lstat(s.sock)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("plugin socket: %w", err), l.Close())
	}
	s.listener = l
	return nil
}

// Serve answers dockerd until ctx ends; it listens first if Listen was not called. At the end it unlinks the socket (a
// stale one costs dockerd 15 s for each look), lets calls in progress finish and returns nil. A Server serves once.
func (s *Server) Serve(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	s.log.WithField("addr", s.sock).Info("listening for docker")
	served := make(chan error, 1)
	go func() { served <- s.mux.Serve(s.listener) }()
	select {
	case err := <-served:
		return errors.Join(fmt.Errorf("plugin socket: %w", err), s.remove())
	case <-ctx.Done():
	}
	err := s.remove()
	s.stopped()
	_ = s.listener.Close()
	<-served
	return errors.Join(err, s.drain())
}

// drain waits for the calls in progress, so that their replies go out, and closes the connections.
func (s *Server) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	var err error
	if server := s.server.Load(); server != nil {
		if err = server.Shutdown(ctx); err != nil {
			err = errors.Join(fmt.Errorf("plugin socket: calls in progress: %w", err), server.Close())
		}
	}
	idle := make(chan struct{})
	go func() { s.calls.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-ctx.Done():
		err = errors.Join(err, errors.New("plugin socket: a call goes on after its end"))
	}
	return err
}

// remove unlinks the socket's file if it is still the one that Listen made.
func (s *Server) remove() error {
	file, err := os.Lstat(s.sock)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !os.SameFile(file, s.file)) {
		return nil
	}
	if err == nil {
		err = os.Remove(s.sock)
	}
	if err != nil {
		return fmt.Errorf("plugin socket: %w", err)
	}
	return nil
}

// clear makes room for a socket at path: what a dead agent left behind goes, a link to nowhere too.
func clear(path string) error {
	file, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("plugin socket: %w", err)
	case file.Mode().Type() != fs.ModeSocket && file.Mode().Type() != fs.ModeSymlink:
		return fmt.Errorf("plugin socket: %s is there and is no socket; remove it", path)
	case live(path):
		return fmt.Errorf("plugin socket: another meshsec agent listens on %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("plugin socket: %w", err)
	}
	return nil
}

// live tells whether somebody listens on the socket at path, links followed.
func live(path string) bool {
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err != nil {
		var op *net.OpError
		return errors.As(err, &op) && op.Timeout()
	}
	_ = conn.Close()
	return true
}
