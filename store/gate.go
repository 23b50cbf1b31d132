package store

import (
	"context"
	"strings"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// gate stands before every call of the embedded etcd server. It knows the caller by the host ID in its certificate:
//
//   - The host that runs the server may do everything.
//   - Others may read everything, and write what is their own, claims that are free (in a transaction that asks for that), networks, and
//     what the authority has signed, see mayWrite. They may not administer the server.
//   - A removed host may only read its revocation, and its open watches are cut.
//
// Etcd's own users and roles would need one user for each token before it is used, and don't cut watches.
type gate struct {
	owner string

	mu      sync.Mutex
	removed map[string]bool
	ca      CA                                                                 // without its key
	look    func(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) // of the server behind it
	open    map[string]map[*context.CancelFunc]bool                            // by host
}

func newGate(owner string) *gate {
	return &gate{owner: owner, removed: map[string]bool{}, open: map[string]map[*context.CancelFunc]bool{}}
}

func (g *gate) options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(g.unary), grpc.ChainStreamInterceptor(g.stream)}
}

// stands says which server is behind the gate, and the authority that it believes.
func (g *gate) stands(ca CA, look func(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ca.Key = Secret{}
	g.ca, g.look = ca, look
}

// shutOut refuses the hosts from now on and ends their streams.
func (g *gate) shutOut(hosts []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, host := range hosts {
		if g.removed[host] || host == g.owner {
			continue
		}
		g.removed[host] = true
		for cancel := range g.open[host] {
			(*cancel)()
		}
	}
}

func (g *gate) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	host := caller(ctx)
	if host == g.owner {
		return next(ctx, req)
	}
	g.mu.Lock()
	out := g.removed[host]
	g.mu.Unlock()
	switch {
	case host == "":
		return nil, status.Error(codes.PermissionDenied, "no certificate of a host")
	case out && !asksForRevocation(req, host):
		return nil, status.Error(codes.PermissionDenied, "this host was removed from the environment")
	case !g.allowed(ctx, req, host, nil):
		return nil, status.Error(codes.PermissionDenied, "not for host "+host)
	}
	return next(ctx, req)
}

func (g *gate) stream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	host := caller(s.Context())
	if host == g.owner {
		return next(srv, s)
	}
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	g.mu.Lock()
	refused := host == "" || g.removed[host]
	if !refused {
		if g.open[host] == nil {
			g.open[host] = map[*context.CancelFunc]bool{}
		}
		g.open[host][&cancel] = true
	}
	g.mu.Unlock()
	if refused {
		return status.Error(codes.PermissionDenied, "this host was removed from the environment")
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if delete(g.open[host], &cancel); len(g.open[host]) == 0 {
			delete(g.open, host)
		}
	}()
	switch srv.(type) {
	case pb.WatchServer, pb.LeaseServer:
		return next(srv, cutStream{s, ctx})
	}
	return status.Error(codes.PermissionDenied, "not for host "+host) // such as a backup
}

// cutStream is a stream that also ends with a context of ours.
type cutStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s cutStream) Context() context.Context { return s.ctx }

// caller is the host ID in the certificate that the TLS handshake has verified.
func caller(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return ""
	}
	return info.State.VerifiedChains[0][0].Subject.CommonName
}

// allowed says whether a host that is a member may make the call. when is what the transaction that it is part of depends on.
func (g *gate) allowed(ctx context.Context, req any, host string, when map[string]int64) bool {
	switch r := req.(type) {
	case *pb.MemberListRequest, *pb.StatusRequest: // by which members find and watch each other
		return true
	case *pb.RangeRequest, *pb.LeaseGrantRequest, *pb.LeaseRevokeRequest, *pb.LeaseTimeToLiveRequest:
		return true
	case *pb.PutRequest:
		return g.mayWrite(ctx, host, r.Key, append([]byte{}, r.Value...), when) // not nil, for it deletes nothing
	case *pb.DeleteRangeRequest:
		return len(r.RangeEnd) == 0 && g.mayWrite(ctx, host, r.Key, nil, when)
	case *pb.TxnRequest:
		return g.allowedOps(ctx, r.Success, host, conditions(r.Compare)) && g.allowedOps(ctx, r.Failure, host, nil)
	}
	return false
}

func (g *gate) allowedOps(ctx context.Context, ops []*pb.RequestOp, host string, when map[string]int64) bool {
	for _, op := range ops {
		ok := false
		switch o := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			ok = true
		case *pb.RequestOp_RequestPut:
			ok = g.allowed(ctx, o.RequestPut, host, when)
		case *pb.RequestOp_RequestDeleteRange:
			ok = g.allowed(ctx, o.RequestDeleteRange, host, when)
		case *pb.RequestOp_RequestTxn:
			ok = g.allowed(ctx, o.RequestTxn, host, when)
		}
		if !ok {
			return false
		}
	}
	return true
}

// asksForRevocation says whether all that is asked for is the caller's revocation.
func asksForRevocation(req any, host string) bool {
	r, ok := req.(*pb.RangeRequest)
	return ok && len(r.RangeEnd) == 0 && strings.HasSuffix(string(r.Key), "/"+revokedKey(host).String())
}
