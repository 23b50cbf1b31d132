// Package driver is the network driver: it turns Docker's calls into networks and endpoints in this host's checkpoint,
// and makes the veth pair of an endpoint. Facts get into etcd from the checkpoint by the store's publisher.
//
// Docker tells a plugin everything once: no network and no endpoint is ever announced again, and each delete is sent
// once, whatever the answer. So what a call does is written down before it returns, every call may come twice, late or
// for something that is gone, and Run compares what is written with Docker's own list.
package driver
