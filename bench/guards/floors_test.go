package main

import (
	"testing"

	"mcp-sidecar/bench/corpus"
	"mcp-sidecar/bench/corpus/corpustest"
	"mcp-sidecar/proxy/scan"
)

// floor is a figure that was reached, and that a change must not fall below (or, of what
// should be small, rise above). In percent.
type floor struct {
	kind, what  string
	of          func(*result) float64
	least, most float64
}

var floors = []floor{
	{scan.Injection, "recall", func(r *result) float64 { return r.All.recall() }, 97.3, 100},
	{scan.Injection, "mean recall of the sources", (*result).mean, 96.9, 100},
	{scan.Injection, "obfuscated", source("obfuscated", figures.recall), 100, 100},
	{scan.Injection, "obfuscated inside documents", source("obfuscated-in-document", figures.recall), 100, 100},
	{scan.Injection, "AUC", func(r *result) float64 { return 100 * r.All.AUC }, 98, 100},
	{scan.Injection, "wrong", func(r *result) float64 { return r.All.wrong() }, 0, 0.15},
	{scan.Injection, "wrong about texts with trigger words", source("notinject", figures.wrong), 0, 0},
	{scan.Injection, "wrong about real tool descriptions", source("mcp-registry-tools", figures.wrong), 0, 1.6},
	{scan.Secret, "recall", func(r *result) float64 { return r.All.recall() }, 99.7, 100},
	{scan.Secret, "mean recall of the sources", (*result).mean, 99.8, 100},
	{scan.Secret, "connection strings and error texts", source("synthetic-connection-and-error", figures.recall), 100, 100},
	{scan.Secret, "leaked", func(r *result) float64 { return r.All.leak() }, 0, 0},
	{scan.Secret, "wrong", func(r *result) float64 { return r.All.wrong() }, 0, 2.3},
	{scan.Secret, "kept", func(r *result) float64 { return r.All.kept() }, 97.3, 100},
	{scan.SSRF, "recall", func(r *result) float64 { return r.All.recall() }, 100, 100},
	{scan.SSRF, "wrong", func(r *result) float64 { return r.All.wrong() }, 0, 0},
	{scan.Command, "recall", func(r *result) float64 { return r.All.recall() }, 98.8, 100},
	{scan.Command, "wrong", func(r *result) float64 { return r.All.wrong() }, 0, 0},
}

func source(name string, of func(figures) float64) func(*result) float64 {
	return func(r *result) float64 {
		f := r.Sources[name]
		if f == nil {
			return -1 // out of any bounds
		}
		return of(*f)
	}
}

// TestFloors holds the guards to what they found.
func TestFloors(t *testing.T) {
	dir := corpustest.Dir(t)
	results := map[string]*result{}
	for _, kind := range scan.Kinds() {
		items, err := corpus.Read(dir, kind)
		if err != nil {
			t.Fatal(err)
		}
		results[kind] = measure(kind, items, sidecar(kind))
	}
	for _, f := range floors {
		if got := f.of(results[f.kind]); got < f.least || got > f.most {
			t.Errorf("%s: %s is %.2f, not within %.2f and %.2f", f.kind, f.what, got, f.least, f.most)
		}
	}
}
