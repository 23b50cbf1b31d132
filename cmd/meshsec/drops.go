package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// drops gives counted reasons in a fixed order, so that two looks can be compared.
func drops(m map[string]uint64) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(m)) {
		if m[reason] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", reason, m[reason]))
		}
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, ", ")
}
