package metadata

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// versions are the first part of every path. They are one: what has been added since does not get in anyone's way.
var versions = []string{"2016-07-29", "latest"}

// maxThere is how many parts a failure names.
const maxThere = 100

// find walks a path (without its version): names of a node's parts whatever their case, and of a list's by number, name
// or UUID. If there is no such value, there is what it could have been, as the text shows it, and how many more there are.
func (j *job) find(path []string) (value any, there []string, more int) {
	if len(path) == 0 {
		all := node{}
		for name, make := range roots {
			all[name] = lazy(func() any { return make(j) })
		}
		all["version"] = roots["version"](j) // which has no parts
		return all, nil, 0
	}
	for name, make := range roots {
		if strings.EqualFold(name, path[0]) {
			return walk(make(j), path[1:])
		}
	}
	return nil, slices.Sorted(maps.Keys(roots)), 0
}

func walk(value any, path []string) (_ any, there []string, more int) {
	value = force(value)
	if len(path) == 0 {
		return value, nil, 0
	}
	if next := part(value, path[0]); next != nil {
		return walk(next, path[1:])
	}
	there = lines(value, maxThere)
	return nil, there, max(0, count(value)-len(there))
}

// part is the one of a value that is called so, nil if there is none.
func part(value any, word string) any {
	number, err := strconv.Atoi(word)
	switch x := value.(type) {
	case node:
		for name, next := range x {
			if strings.EqualFold(name, word) {
				return next
			}
		}
	case list:
		if err == nil && number >= 0 && number < len(x) {
			return x[number]
		}
		for _, key := range []string{"name", "uuid"} {
			for _, next := range x {
				if m, ok := next.(node); ok && m[key] != "" && equalFold(m[key], word) {
					return next
				}
			}
		}
	case *many:
		if err == nil && number >= 0 && number < x.n {
			return x.at(number)
		}
		return x.find(word)
	}
	return nil
}

func equalFold(v any, word string) bool {
	s, ok := v.(string)
	return ok && strings.EqualFold(s, word)
}

// count is how many parts a value has.
func count(value any) int {
	switch x := value.(type) {
	case node:
		return len(x)
	case list:
		return len(x)
	case *many:
		return x.n
	}
	return 0
}
