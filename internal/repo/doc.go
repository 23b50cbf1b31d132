// Package repo holds the tests that the repository makes of itself: which package may import which and why, and the
// conventions of CONTRIBUTING.md as far as a program can see them. It has no code of its own.
package repo
