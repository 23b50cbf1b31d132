//go:build race

package handshake

// raceEnabled makes the long tests shorter: under the race detector they take ten times as long.
const raceEnabled = true
