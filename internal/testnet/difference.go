package testnet

import (
	"fmt"
	"slices"
	"strings"
)

// Difference lists the lines that only one of the texts has.
func Difference(before, after string) string {
	var out strings.Builder
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range old {
		if !slices.Contains(now, line) {
			fmt.Fprintln(&out, "- "+line)
		}
	}
	for _, line := range now {
		if !slices.Contains(old, line) {
			fmt.Fprintln(&out, "+ "+line)
		}
	}
	return out.String()
}
