// Package metadata tells the containers of this host, by HTTP, about themselves and what is around them: a tree of values
// under the paths that Rancher's metadata service had, as text, JSON or YAML, and a way to wait for a change.
//
// Who asks is known by the source address, which the source guard makes true. Nobody is told of more than the networks that
// the container is on. It is made from the directory when it is asked for, and no more of it than
// the path leads to; a job bounds the work. docs/metadata.openapi.yaml describes it.
package metadata
