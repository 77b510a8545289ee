package main

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, row := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"none", nil, 0},
		{"one", []float64{7}, 7},
		{"odd, unsorted", []float64{9, 1, 5}, 5},
		{"even: between the two in the middle", []float64{4, 1, 3, 100}, 3.5},
		{"an outlier does not move it", []float64{2, 2, 2, 2, 1e9}, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := slices.Clone(row.values)
			if got := median(row.values); got != row.want {
				t.Errorf("median(%v) = %v, want %v", row.values, got, row.want)
			}
			if !slices.Equal(before, row.values) {
				t.Errorf("values changed to %v", row.values)
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, row := range []struct {
		name   string
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{"none", nil, 0.5, 0},
		{"one", []time.Duration{3}, 0.99, 3},
		{"p50 of two is the lower", []time.Duration{3, 9}, 0.50, 3},
		{"p51 of two is the upper", []time.Duration{3, 9}, 0.51, 9},
		{"p50 of a hundred", hundred, 0.50, 50},
		{"p99 of a hundred", hundred, 0.99, 99},
		{"p100", hundred, 1, 100},
		{"p0", hundred, 0, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := percentile(row.sorted, row.p); got != row.want {
				t.Errorf("percentile = %d, want %d", got, row.want)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	for _, row := range []struct {
		name          string
		values, floor []float64
		want          ratio
	}{
		{"nothing measured", nil, nil, ratio{}},
		{"the floor itself", []float64{3, 5}, []float64{3, 5}, ratio{1, 1, 1}},
		{"rounds are paired: a busy round is busy for both", []float64{10, 20, 300}, []float64{10, 10, 100}, ratio{2, 1, 3}},
		{"a round without a floor is left out", []float64{10, 20}, []float64{0, 10}, ratio{2, 2, 2}},
		{"a round less", []float64{10, 20, 30}, []float64{10}, ratio{1, 1, 1}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := compare(row.values, row.floor); got != row.want {
				t.Errorf("compare = %v, want %v", got, row.want)
			}
		})
	}
}

func TestOver(t *testing.T) {
	for _, row := range []struct {
		name   string
		ratios []ratio
		want   ratio
	}{
		{"none", nil, ratio{}},
		{"not measured", []ratio{{}, {}}, ratio{}},
		{"median of medians, range of all", []ratio{{2, 1, 3}, {1.5, 0.5, 2}, {4, 2, 9}}, ratio{2, 0.5, 9}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := over(row.ratios); got != row.want {
				t.Errorf("over = %v, want %v", got, row.want)
			}
		})
	}
}

// TestRotated checks that in as many rounds as there are paths each path comes
// once at each place.
func TestRotated(t *testing.T) {
	places := map[string]map[int]bool{}
	for round := range 3 {
		for place, name := range rotated([]string{directPath, floorPath, sidecarPath}, round+300) {
			if places[name] == nil {
				places[name] = map[int]bool{}
			}
			places[name][place] = true
		}
	}
	for name, at := range places {
		if len(at) != 3 {
			t.Errorf("%s only at %v", name, at)
		}
	}
	if len(places) != 3 {
		t.Errorf("paths %v", places)
	}
}

func TestJoin(t *testing.T) {
	first := &testError{"first"}
	got := join([]taken{
		{latencies: []time.Duration{5, 1}, failed: 1, err: first, elapsed: time.Second},
		{},
		{latencies: []time.Duration{3}, failed: 2, err: &testError{"second"}, elapsed: time.Minute},
	})
	if !slices.Equal(got.latencies, []time.Duration{1, 3, 5}) || got.failed != 3 || !errors.Is(got.err, first) || got.elapsed != time.Second+time.Minute {
		t.Errorf("join = %+v", got)
	}
}

type testError struct{ text string }

func (e *testError) Error() string { return e.text }

func TestMicros(t *testing.T) {
	if got := micros(1500 * time.Nanosecond); math.Abs(got-1.5) > 1e-9 {
		t.Errorf("micros = %v", got)
	}
}
