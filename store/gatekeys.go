package store

import (
	"context"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// mayWrite says whether a host may put the value at the key, or delete it (value nil): of any environment, but nothing that is
// another host's. What the authority signs it may pass on, if the signature is good.
// A claim it may write only in a transaction that says at which revision it has seen the key: see conditions.
func (g *gate) mayWrite(ctx context.Context, host string, key, value []byte, when map[string]int64) bool {
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
		revision, ok := when[string(key)]
		return ok && (value == nil || claimHost(value) == host) && (revision == 0 || g.isOwn(ctx, key, host, revision))
	case k.kind == kindCA, k.kind == kindRevoked, k.kind == kindCert, k.kind == kindServer:
		return value != nil && g.isVouched(environment, k, value)
	case k.kind == kindMembers:
		return false // the word of who leads them, see Council
	}
	return true
}

// isOwn says whether the claim that was written at a revision is the host's. A revision that has passed without being the key's
// any more does no harm: the transaction does not happen, and the host learns that. One to come could be anybody's.
func (g *gate) isOwn(ctx context.Context, key []byte, host string, revision int64) bool {
	g.mu.Lock()
	look := g.look
	g.mu.Unlock()
	if look == nil {
		return false
	}
	r, err := look(ctx, &pb.RangeRequest{Key: key})
	if err != nil {
		return false
	}
	if len(r.Kvs) > 0 && r.Kvs[0].ModRevision == revision {
		return claimHost(r.Kvs[0].Value) == host
	}
	return revision <= r.Header.GetRevision()
}

// isVouched says whether the environment's authority has signed the value, and has not said anything newer about itself.
func (g *gate) isVouched(environment string, k factKey, value []byte) bool {
	g.mu.Lock()
	t := judge(Identity{Environment: environment, CA: g.ca.Cert, CASince: g.ca.Since})
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
	case kindServer:
		_, err = t.verifyServerCert(fact.(Renewal).Cert, k.host)
	}
	return err == nil
}

// conditions are the keys that a transaction asks to be as they were last written at a revision, 0: to be absent. Etcd judges
// that in the same step in which it writes, so nobody gets in between.
func conditions(when []*pb.Compare) map[string]int64 {
	revisions := map[string]int64{}
	for _, c := range when {
		if c.Result != pb.Compare_EQUAL || len(c.RangeEnd) > 0 {
			continue
		}
		switch target := c.TargetUnion.(type) {
		case *pb.Compare_CreateRevision:
			if c.Target == pb.Compare_CREATE && target.CreateRevision == 0 {
				revisions[string(c.Key)] = 0
			}
		case *pb.Compare_ModRevision:
			if c.Target == pb.Compare_MOD {
				revisions[string(c.Key)] = target.ModRevision
			}
		}
	}
	return revisions
}
