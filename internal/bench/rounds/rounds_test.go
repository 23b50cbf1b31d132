package rounds

import "testing"

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := Median(c.v); got != c.want {
			t.Errorf("%v: %v, want %v", c.v, got, c.want)
		}
	}
}

func TestRatio(t *testing.T) {
	if got := Ratio([]float64{4, 2, 6, 1000}, []float64{2, 1, 2}); got != 2 {
		t.Errorf("%v, want 2: the median of 2, 2 and 3", got)
	}
	if got := Ratio(nil, []float64{1}); got != 0 {
		t.Errorf("without rounds: %v", got)
	}
}
