package main

import (
	"math"
	"slices"
	"time"
)

// median returns the middle of values, or the mean of the two in the middle; 0
// for none. values stay as they are.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// percentile returns the smallest of sorted that is not exceeded by the share p
// (0 to 1) of all: the nearest rank. Nothing is interpolated, so each figure is
// a call that happened. It is 0 for none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// ratio is how one path compares to the floor: the median of the rounds' own
// ratios, and their range.
type ratio struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// compare pairs what was measured in the same round, since the machine's load
// changes between rounds. Rounds without a floor are left out.
func compare(values, floor []float64) ratio {
	var each []float64
	for i := range min(len(values), len(floor)) {
		if floor[i] > 0 {
			each = append(each, values[i]/floor[i])
		}
	}
	return spread(each)
}

// spread is the median of the rounds' own ratios, and their range.
func spread(each []float64) ratio {
	if len(each) == 0 {
		return ratio{}
	}
	return ratio{Median: median(each), Low: slices.Min(each), High: slices.Max(each)}
}

// over joins the ratios of several concurrencies: the median of their medians,
// and the range of all.
func over(ratios []ratio) ratio {
	var medians, all []float64
	for _, r := range ratios {
		if r != (ratio{}) {
			medians = append(medians, r.Median)
			all = append(all, r.Low, r.High)
		}
	}
	if len(all) == 0 {
		return ratio{}
	}
	return ratio{Median: median(medians), Low: slices.Min(all), High: slices.Max(all)}
}

// rotated returns all, starting with the one at index by and wrapping around.
func rotated[T any](all []T, by int) []T {
	by %= len(all)
	return slices.Concat(all[by:], all[:by])
}
