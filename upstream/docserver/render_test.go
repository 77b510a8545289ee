package docserver

import (
	"context"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	tests := []struct{ name, format, want string }{
		{"words", "words", "wc -w"},
		{"lines", "lines", "wc -l"},
		{"chars", "chars", "wc -m"},
		{"the rest goes to the shell", "words; rm -rf ~", "wc -w; rm -rf ~"},
		{"only the first word is replaced", "lines | grep words", "wc -l | grep words"},
		{"none of the words", "-c; id", "wc -c; id"},
		{"empty", "", "wc "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := commandLine(tt.format); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOutputIsBounded(t *testing.T) {
	tests := []struct {
		name string
		size int
		full bool
	}{
		{"below", countOutput - 1, false},
		{"at the limit", countOutput, false},
		{"above", countOutput + 1, true},
		{"far above", 20 * countOutput, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := run(t.Context(), strings.Repeat("x", tt.size), "", "cat")
			if tt.full != (err != nil) {
				t.Fatalf("error %v", err)
			}
			if !tt.full && len(out) != tt.size {
				t.Errorf("%d bytes came back of %d", len(out), tt.size)
			}
		})
	}
}

func TestRunHonoursContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out, err := run(ctx, "x", "", "cat"); err == nil {
		t.Errorf("ran and printed %q", out)
	}
}

func TestEnvironmentNeverHasAnEmptyHome(t *testing.T) {
	for _, home := range []string{"", "/scratch"} {
		for _, v := range environment(home) {
			if v == "HOME=" {
				t.Error("HOME is empty: ~ would be the current folder")
			}
		}
	}
}
