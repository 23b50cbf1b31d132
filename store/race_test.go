//go:build race

package store

// raceEnabled: the long tests run there although -short is set.
const raceEnabled = true
