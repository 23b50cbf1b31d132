// Package rounds compares what was measured in rounds, alternately: load that comes and goes hits both sides of a round.
package rounds

import "slices"

// Median is 0 without values.
func Median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	if n == 0 {
		return 0
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}

// Ratio is the median of a / b, round by round, over the rounds that both have.
func Ratio(a, b []float64) float64 {
	var v []float64
	for i := range min(len(a), len(b)) {
		v = append(v, a[i]/b[i])
	}
	return Median(v)
}
