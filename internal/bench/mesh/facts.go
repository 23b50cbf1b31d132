package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"path"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/meshsec/meshsec/internal/testnet"
	"github.com/meshsec/meshsec/store"
)

// watchFacts tells when etcd on the founder shows a new endpoint to a watch: an upper bound of when it was written.
func watchFacts(ctx context.Context, founder *testnet.Host, out chan<- arrival) error {
	config, endpoints, err := access(ctx, founder)
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), Context: ctx, DialTimeout: 10 * time.Second,
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(named{credentials.NewTLS(config)}),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (conn net.Conn, err error) {
				err = founder.Enter(func() (err error) {
					conn, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
					return err
				})
				return conn, err
			})}})
	if err != nil {
		return err
	}
	watch := client.Watch(ctx, store.Prefix(environment)+"endpoints/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if first := <-watch; !first.Created {
		return fmt.Errorf("watch of etcd on %s: %w", founder.Name, first.Err())
	}
	go func() {
		defer client.Close()
		for r := range watch {
			now := time.Now()
			for _, e := range r.Events {
				if addr, err := netip.ParseAddr(path.Base(string(e.Kv.Key))); err == nil && e.IsCreate() {
					out <- arrival{addr: addr, at: now}
				}
			}
		}
	}()
	return nil
}

const environment = "default"

// access is what a host that joins gets.
func access(ctx context.Context, founder *testnet.Host) (*tls.Config, []string, error) {
	text, err := founder.Token(ctx)
	if err != nil {
		return nil, nil, err
	}
	token, err := store.ParseToken(text)
	if err != nil {
		return nil, nil, err
	}
	id, err := store.JoinIdentity(token, "benchmark")
	if err != nil {
		return nil, nil, err
	}
	config, err := id.ClientTLS()
	return config, token.Endpoints, err
}

// named expects the certificate of the environment's etcd, whatever its address is.
type named struct {
	credentials.TransportCredentials
}

// ClientHandshake implements credentials.TransportCredentials.
func (n named) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return n.TransportCredentials.ClientHandshake(ctx, store.ServerName, conn)
}

// Clone implements credentials.TransportCredentials.
func (n named) Clone() credentials.TransportCredentials { return named{n.TransportCredentials.Clone()} }
