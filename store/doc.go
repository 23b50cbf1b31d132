// Package store holds the facts of an environment and this host's own part of them.
//
// The facts live in etcd under one prefix (Prefix), as JSON values. Store lists and watches them and hands out
// immutable Snapshots; it writes claims by transaction, and its publisher makes etcd's facts about this host equal to
// the Checkpoint, for as long as that takes. The Checkpoint is what this host holds, on disk, written before Docker gets
// its answer: it outranks etcd about this host's own things. The package also holds the environment's certificate
// authority (CA), the Token that lets a further host in, and the Embedded etcd server.
//
// No other package imports etcd.
package store
