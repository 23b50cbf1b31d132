package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// ErrUnreachable says that etcd did not answer in the time given; the error's text names the endpoints and the cause.
var ErrUnreachable = errors.New("etcd not reached")

const (
	dialKeepAlive    = 10 * time.Second // gRPC does not ping more often
	dialKeepAliveEnd = 3 * time.Second
	retryPause       = 100 * time.Millisecond
	callTimeout      = 5 * time.Second // of the Store's own calls
)

// reconnect is much shorter than gRPC's default, which grows to two minutes.
var reconnect = backoff.Config{BaseDelay: retryPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffMax}

func newClient(cfg Config) (*clientv3.Client, error) {
	options := []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(cfg.Around.unary, failFast),
		grpc.WithChainStreamInterceptor(cfg.Around.stream, failFastStream, tellWatch(cfg.opened)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 2 * time.Second}),
	}
	if cfg.TLS != nil && cfg.TLS.ServerName != "" {
		options = append(options, grpc.WithTransportCredentials(namedServer{credentials.NewTLS(cfg.TLS), cfg.TLS.ServerName, cfg.refuse}))
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  cfg.TLS,
		DialTimeout:          2 * time.Second,
		DialKeepAliveTime:    dialKeepAlive,
		DialKeepAliveTimeout: dialKeepAliveEnd,
		PermitWithoutStream:  false, // the watch is a stream, and servers refuse pings without one
		MaxUnaryRetries:      1,     // call does it, and knows the cause when time is up
		BackoffWaitBetween:   retryPause,
		DialOptions:          options,
		Logger:               zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd client: %w", err)
	}
	return client, nil
}

// namedServer expects the name of the TLS configuration in the server's certificate. The client by itself would replace
// it by the endpoint's address.
type namedServer struct {
	credentials.TransportCredentials
	name   string
	refuse func(host string) bool // may be nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (n namedServer) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, info, err := n.TransportCredentials.ClientHandshake(ctx, n.name, conn)
	if t, ok := info.(credentials.TLSInfo); err == nil && ok && n.refuse != nil {
		if host := t.State.PeerCertificates[0].Subject.CommonName; n.refuse(host) {
			_ = secure.Close()
			return nil, nil, fmt.Errorf("host %s, which was removed from the environment, answers there", host)
		}
	}
	return secure, info, err
}

// Clone implements credentials.TransportCredentials.
func (n namedServer) Clone() credentials.TransportCredentials {
	return namedServer{n.TransportCredentials.Clone(), n.name, n.refuse}
}

// failFast makes a call fail with the cause when there is no connection. The client by itself would wait for one in
// silence, until time is up.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return next(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

// failFastStream does the same for keeping leases alive. A watch may wait: nobody waits for it.
func failFastStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if strings.HasSuffix(method, "/LeaseKeepAlive") {
		opts = append(opts, grpc.WaitForReady(false))
	}
	return next(ctx, desc, cc, method, opts...)
}

// call runs fn until it succeeds, fails for good, or ctx ends; then the error is ErrUnreachable with the last cause. fn may
// thus have taken effect more than once: all of the Store's transactions allow for that.
func (s *Store) call(ctx context.Context, fn func(context.Context) error) error {
	cause := "no answer in time"
	for {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		if !temporary(err) && ctx.Err() == nil {
			return s.refused(err)
		}
		if text := plainCause(err); text != "" {
			cause = text
		}
		select {
		case <-ctx.Done():
			return s.unreachable(cause)
		case <-time.After(retryPause):
		}
	}
}

func (s *Store) unreachable(cause string) error {
	return fmt.Errorf("%w at %s: %s", ErrUnreachable, s.where(), cause)
}

// temporary says that the same call may succeed later: no connection, no leader, too slow.
func temporary(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	}
	if errors.Is(err, rpctypes.ErrAuthOldRevision) {
		return true // users or roles were changed while the call was on its way
	}
	var coded interface{ Code() codes.Code } // rpctypes.EtcdError
	if errors.As(err, &coded) {
		return coded.Code() == codes.Unavailable
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// plainCause takes the layers of gRPC off an error's text. Empty: only that time was up, which says nothing.
func plainCause(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return ""
	}
	switch status.Code(err) {
	case codes.DeadlineExceeded, codes.Canceled:
		return ""
	}
	text := err.Error()
	if st, ok := status.FromError(err); ok {
		text = st.Message()
	}
	for _, layer := range []string{`desc = "transport: `, "Error while dialing: ", "etcdserver: "} {
		if _, after, ok := strings.Cut(text, layer); ok {
			text = after
		}
	}
	return strings.TrimSuffix(text, `"`)
}
