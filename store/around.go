package store

import (
	"context"
	"strings"

	"google.golang.org/grpc"
)

// Around is called around each change that a Checkpoint or a Store makes outside the process, on disk or in etcd: what names it, do
// makes it. It returns do's error, or one of its own if the change is not to be made or its success not to be known. It may be called
// concurrently. Tests let an agent die at each change by it; nil only calls do.
type Around func(what string, do func() error) error

func (a Around) change(what string, do func() error) error {
	if a == nil {
		return do()
	}
	return a(what, do)
}

// reads are the calls to etcd that change nothing.
var reads = []string{"KV/Range", "Watch/Watch", "Cluster/MemberList", "Maintenance/Status"}

func changes(method string) bool {
	for _, read := range reads {
		if strings.HasSuffix(method, read) {
			return false
		}
	}
	return true
}

// unary is for calls of etcd's that are one request.
func (a Around) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if a == nil || !changes(method) {
		return next(ctx, method, req, reply, cc, opts...)
	}
	return a(method, func() error { return next(ctx, method, req, reply, cc, opts...) })
}

// stream is for those that are a stream, of which keeping a lease alive is a change.
func (a Around) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (s grpc.ClientStream, err error) {
	if a == nil || !changes(method) {
		return next(ctx, desc, cc, method, opts...)
	}
	err = a(method, func() error {
		s, err = next(ctx, desc, cc, method, opts...)
		return err
	})
	return s, err
}
