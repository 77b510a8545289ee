package main

import (
	"testing"
	"unicode/utf8"

	"mcp-sidecar/guards/injection"
	"mcp-sidecar/guards/secrets"
)

// TestProse checks what the measurement rests on: texts of the exact size, each
// different and the same in every run, in which no guard finds anything. A
// finding would change the answer, and another path would be measured.
func TestProse(t *testing.T) {
	for _, size := range []int{1, 2, 99, 100, 101, 10 << 10, 100 << 10, 1 << 20} {
		seen := map[string]bool{}
		for v := range 2 * variants {
			text := textOf(size, v)
			if len(text) != size || !utf8.ValidString(text) {
				t.Fatalf("textOf(%d, %d): %d bytes, valid %v", size, v, len(text), utf8.ValidString(text))
			}
			if text != textOf(size, v) {
				t.Fatalf("textOf(%d, %d) is not the same twice", size, v)
			}
			if found := secrets.Find(text); len(found) > 0 {
				t.Errorf("textOf(%d, %d): %v", size, v, found)
			}
			if found := injection.Find(text); len(found) > 0 {
				t.Errorf("textOf(%d, %d): %v", size, v, found)
			}
			seen[text] = true
		}
		if size >= 10<<10 && len(seen) < 2*variants {
			t.Errorf("only %d different texts of %d bytes", len(seen), size)
		}
	}
}
