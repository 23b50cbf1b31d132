package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/meshsec/meshsec/settings"
	"github.com/meshsec/meshsec/store"
)

// errSetting marks an error that only a changed setting can end: nothing is tried again.
var errSetting = errors.New("setting")

// openCheckpoint opens this environment's checkpoint and settles who this host is: as the checkpoint says, as the token
// says, or a new host that founds the environment.
func openCheckpoint(set settings.Settings, p paths) (*store.Checkpoint, error) {
	path := filepath.Join(p.state, set.Environment+".db")
	cp, err := store.OpenCheckpoint(path)
	if errors.Is(err, store.ErrDamaged) {
		err = fmt.Errorf("%w; it is left as it is: %s", err, startAnew(p))
	}
	if err != nil {
		return nil, err
	}
	cp, err = settle(cp, path, set, p)
	if err != nil && cp != nil {
		err = errors.Join(err, cp.Close())
	}
	return cp, err
}

// startAnew says what to move away when the checkpoint is lost. The first host's etcd must go with it: it names an authority
// whose key was in the checkpoint, so it would refuse the new one.
func startAnew(p paths) string {
	where := ""
	if p.managed {
		where = fmt.Sprintf(" (%s is /var/lib/docker/plugins/ID/propagated-mount on the host)", p.state)
	}
	etcd := etcdDir(p)
	if _, err := os.Stat(etcd); err != nil {
		return fmt.Sprintf("restore it, or move it away%s to start anew", where)
	}
	return fmt.Sprintf("restore it, or move both it and %s away%s to found the environment anew; its other hosts then need new tokens", etcd, where)
}

// etcdDir is where the embedded etcd keeps its files.
func etcdDir(p paths) string { return filepath.Join(p.state, "etcd") }

func settle(cp *store.Checkpoint, path string, set settings.Settings, p paths) (*store.Checkpoint, error) {
	local := cp.Local()
	old, id := local.Identity, store.Identity{}
	token, err := joinToken(set, p)
	if isMember(old) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrExpired) && token.HostID == old.HostID) {
		// JOIN has done its work, and stays set: a member serves from its checkpoint, whatever became of the token.
		token, err = nil, nil
	}
	if err != nil {
		return cp, err
	}
	switch {
	case token == nil && old.HostID != "":
		return cp, errors.Join(checkHostID(old.HostID, set), renew(cp, old))
	case token == nil:
		id, err = store.FoundIdentity(set.Environment, set.HostID, hostName(set, ""))
	case old.HostID == "" || old.HostID == token.HostID:
		id, err = store.JoinIdentity(*token, hostName(set, token.HostName))
	default:
		// The token makes this host another one, so what it held under its old name must be gone.
		if n := len(local.Endpoints); n > 0 {
			return cp, fmt.Errorf("%w JOIN: this host (%s) still has %d endpoints as a member of its present environment: remove their containers, or take JOIN back", errSetting, old.HostID, n)
		}
		if n := len(local.Networks); n > 0 {
			return cp, fmt.Errorf("%w JOIN: this host (%s) still has %d networks as a member of its present environment: docker network rm them, or take JOIN back", errSetting, old.HostID, n)
		}
		if cp, err = fresh(cp, path); err == nil {
			id, err = store.JoinIdentity(*token, hostName(set, token.HostName))
		}
	}
	if err == nil {
		err = checkHostID(id.HostID, set)
	}
	if err != nil {
		return cp, err
	}
	return cp, cp.Update(func(l *store.Local) error {
		if old := l.Identity; old.HostID == id.HostID {
			id = id.After(old)
		}
		l.Identity = id
		return nil
	})
}

// renew gives a host that holds the authority a new certificate in good time: nobody else would, and without it the founder's
// own etcd would not let it in. It is looked at when the agent starts.
func renew(cp *store.Checkpoint, id store.Identity) error {
	ca, err := id.Authority()
	if err != nil {
		return nil // its certificate came with a token
	}
	old, err := store.CertDER(id.Cert)
	if err != nil {
		return err
	}
	if ends, err := id.Expires(); err != nil || time.Until(ends) > store.HostTTL/2 {
		return err
	}
	cert, err := ca.Renew(old)
	if err != nil {
		return err
	}
	return cp.Update(func(l *store.Local) error {
		l.Identity.Cert = store.CertPEM(cert)
		return nil
	})
}

// isMember tells a host that has joined by a token from a founder and from a new one.
func isMember(id store.Identity) bool { return id.HostID != "" && !id.Founded() }

// joinToken reads JOIN, which is a token or a file on the host that holds one. nil: not set. With store.ErrExpired the
// token comes along.
func joinToken(set settings.Settings, p paths) (*store.Token, error) {
	if set.Join == "" {
		return nil, nil
	}
	token, err := store.ParseToken(p.host(set.Join))
	if err != nil {
		return &token, fmt.Errorf("%w JOIN: %w", errSetting, err)
	}
	if token.Environment != set.Environment {
		return nil, fmt.Errorf("%w JOIN: the token is for environment %q, but ENVIRONMENT is %q", errSetting, token.Environment, set.Environment)
	}
	return &token, nil
}

func checkHostID(id string, set settings.Settings) error {
	if set.HostID != "" && set.HostID != id {
		return fmt.Errorf("%w HOST_ID=%s: this host is %s by its checkpoint or token", errSetting, set.HostID, id)
	}
	return nil
}

// hostName is what people call this host: as it was set, as the token says, or the system's own name.
func hostName(set settings.Settings, token string) string {
	for _, name := range []string{set.HostName, token} {
		if name != "" {
			return name
		}
	}
	name, err := os.Hostname()
	if err != nil {
		return "unnamed"
	}
	return name
}

// fresh puts the old environment's checkpoint and snapshot aside, so that nothing of it (its facts, its claims, its
// authority, by which the new one's etcd would be refused) is taken for the new one's, and opens an empty one. The snapshot
// goes first: without the checkpoint nobody would look for it again.
func fresh(cp *store.Checkpoint, path string) (*store.Checkpoint, error) {
	if err := cp.Close(); err != nil {
		return nil, err
	}
	for _, file := range []string{path + ".snapshot.tail", path + ".snapshot", path} {
		if err := os.Rename(file, file+".left"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("checkpoint: %w", err)
		}
	}
	return store.OpenCheckpoint(path)
}
