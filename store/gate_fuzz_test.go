package store

import (
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// FuzzGate: whatever a host asks the embedded etcd for, it writes nothing under another host's keys, deletes no range, and what is
// the authority's only with its signature.
func FuzzGate(f *testing.F) {
	id, err := FoundIdentity(testEnv, hostA, "alpha")
	if err != nil {
		f.Fatal(err)
	}
	ca, err := id.Authority()
	if err != nil {
		f.Fatal(err)
	}
	g := newGate(hostA)
	g.stands(ca, nil)
	codec := encoding.GetCodecV2("proto") // of the server
	seed := func(ops ...*pb.RequestOp) {
		b, err := codec.Marshal(&pb.TxnRequest{Success: ops, Failure: ops, Compare: []*pb.Compare{{Key: []byte(Prefix(testEnv) + "blocks/n/10.42.64.0/26"),
			Target: pb.Compare_CREATE, TargetUnion: &pb.Compare_CreateRevision{}}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b.Materialize())
	}
	put := func(key, value string) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(Prefix(testEnv) + key), Value: []byte(value)}}}
	}
	seed(put("hosts/"+hostB, "{}"), put("networks/n", "{}"))
	seed(put("blocks/n/10.42.64.0/26", string(mustEncode(Claim{V: 1, Host: hostB}))))
	seed(put("ca", `{"v":1}`), put("revoked/"+hostA, `{"v":1,"sig":"AAAA"}`), put("certs/"+hostB, `{"v":1,"cert":"AAAA"}`))
	seed(&pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte("/"), RangeEnd: []byte{0}}}})
	seed(&pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{Success: []*pb.RequestOp{put("alive/"+hostA, "{}")}}}}, &pb.RequestOp{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r pb.TxnRequest
		if codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &r) != nil || !g.allowed(t.Context(), &r, hostB, nil) {
			return
		}
		writes(&r, func(key []byte, ranged bool) {
			name := strings.TrimPrefix(string(key), Prefix(testEnv))
			kind, rest, _ := strings.Cut(name, "/")
			bad := ranged
			switch kind {
			case kindHost, kindAlive, kindEndpoint, kindReleased:
				bad = bad || rest != hostB && !strings.HasPrefix(rest, hostB+"/")
			case kindCA, kindRevoked, kindCert:
				bad = true // no fuzzer signs
			}
			if bad {
				t.Errorf("%q may be written, range: %v", key, ranged)
			}
		})
	})
}

// writes gives all that a transaction puts or deletes.
func writes(r *pb.TxnRequest, each func(key []byte, ranged bool)) {
	for _, op := range append(append([]*pb.RequestOp{}, r.Success...), r.Failure...) {
		if p := op.GetRequestPut(); p != nil {
			each(p.Key, false)
		}
		if d := op.GetRequestDeleteRange(); d != nil {
			each(d.Key, len(d.RangeEnd) > 0)
		}
		if t := op.GetRequestTxn(); t != nil {
			writes(t, each)
		}
	}
}
