package metadata

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// versions are the first part of every path. They are one: what has been added since does not get in anyone's way.
var versions = []string{"2016-07-29", "latest"}

// find walks a path (without its version): names of a node's parts whatever their case, and of a list's by number, name
// or UUID. If there is no such value, there is what it could have been, as the text shows it.
func (v view) find(path []string) (value any, there []string) {
	if len(path) == 0 {
		all := node{}
		for name, make := range roots {
			all[name] = make(v)
		}
		return all, nil
	}
	for name, make := range roots {
		if strings.EqualFold(name, path[0]) {
			return walk(make(v), path[1:])
		}
	}
	return nil, slices.Sorted(maps.Keys(roots))
}

func walk(value any, path []string) (any, []string) {
	if len(path) == 0 {
		return value, nil
	}
	switch x := value.(type) {
	case node:
		for name, next := range x {
			if strings.EqualFold(name, path[0]) {
				return walk(next, path[1:])
			}
		}
	case list:
		if i, err := strconv.Atoi(path[0]); err == nil && i >= 0 && i < len(x) {
			return walk(x[i], path[1:])
		}
		for _, key := range []string{"name", "uuid"} {
			for _, next := range x {
				if m, ok := next.(node); ok && m[key] != "" && equalFold(m[key], path[0]) {
					return walk(next, path[1:])
				}
			}
		}
	}
	there := lines(value)
	if there == nil {
		there = []string{}
	}
	return nil, there
}

func equalFold(v any, word string) bool {
	s, ok := v.(string)
	return ok && strings.EqualFold(s, word)
}
