package store

import (
	"context"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// mayWrite says whether a host may put the value at the key, or delete it (value nil): of any environment, but nothing that is
// another host's. What the authority signs it may pass on, if the signature is good.
// absent: it does so only if the key is not there, so a claim of another host makes it look again and not fail.
func (g *gate) mayWrite(ctx context.Context, host string, key, value []byte, absent bool) bool {
	rest, ok := strings.CutPrefix(string(key), keyRoot)
	if !ok {
		return false
	}
	environment, name, _ := strings.Cut(rest, "/")
	k, err := parseKey(name)
	if err != nil {
		return false
	}
	switch {
	case k.kind == kindHost, k.kind == kindAlive, k.kind == kindEndpoint, k.kind == kindReleased:
		return k.host == host
	case k.isClaim():
		return (value == nil || claimHost(value) == host) && (absent || g.isFree(ctx, key, host))
	case k.kind == kindCA, k.kind == kindRevoked, k.kind == kindCert:
		return value != nil && g.isVouched(environment, k, value)
	}
	return true
}

// isFree says whether the claim at a key is the host's, or there is none. Between this and the write it can only become
// another's if the host itself gives it up.
func (g *gate) isFree(ctx context.Context, key []byte, host string) bool {
	g.mu.Lock()
	look := g.look
	g.mu.Unlock()
	if look == nil {
		return false
	}
	r, err := look(ctx, &pb.RangeRequest{Key: key})
	return err == nil && (len(r.Kvs) == 0 || claimHost(r.Kvs[0].Value) == host)
}

// isVouched says whether the environment's authority has signed the value.
func (g *gate) isVouched(environment string, k factKey, value []byte) bool {
	g.mu.Lock()
	t := judge(Identity{Environment: environment, CA: g.ca.Cert})
	g.mu.Unlock()
	fact, err := decodeValue(k, value)
	if err != nil {
		return false
	}
	switch k.kind {
	case kindCA:
		_, err = t.openCA(value)
	case kindRevoked:
		f := &stagedFact{key: k.String(), k: k, value: value}
		t.openRevoked(f)
		err = f.err
	case kindCert:
		_, err = t.verifyCert(fact.(Renewal).Cert, k.host)
	}
	return err == nil
}

// onlyIfAbsent are the keys without which a transaction does not happen, for they must not be there.
func onlyIfAbsent(when []*pb.Compare) map[string]bool {
	keys := map[string]bool{}
	for _, c := range when {
		if created, ok := c.TargetUnion.(*pb.Compare_CreateRevision); ok && c.Target == pb.Compare_CREATE && c.Result == pb.Compare_EQUAL &&
			created.CreateRevision == 0 && len(c.RangeEnd) == 0 {
			keys[string(c.Key)] = true
		}
	}
	return keys
}
