package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestParseOptions(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o, err := parseOptions([]string{"--sidecar", self, "--sizes", "1,100,10k,1m", "--concurrency", "1,64", "--answer", "json", "--json", "--calls", "7", "--rounds", "3"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.sizes, []int{1, 100, 10 << 10, 1 << 20}) || !slices.Equal(o.concurrency, []int{1, 64}) {
		t.Errorf("lists %v and %v", o.sizes, o.concurrency)
	}
	if o.answer != answerJSON || !o.json || o.calls != 7 || o.rounds != 3 || o.sidecar != self {
		t.Errorf("options %+v", o)
	}
}

// TestQuick: it measures less, and what is said beside it counts.
func TestQuick(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	full, err := parseOptions([]string{"--sidecar", self}, nil)
	if err != nil {
		t.Fatal(err)
	}
	quick, err := parseOptions([]string{"--rounds", "4", "--quick", "--sidecar", self}, nil)
	if err != nil || quick.rounds != 4 || quick.calls >= full.calls || quick.endurance >= full.endurance || quick.sessions >= full.sessions {
		t.Errorf("options %+v, %v", quick, err)
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string
		code int
	}{
		{"unknown flag", []string{"--profil"}, "not defined", exitUsage},
		{"argument", []string{"now"}, `unexpected argument "now"`, exitUsage},
		{"no call", []string{"--calls", "0"}, "at least 1", exitUsage},
		{"no round", []string{"--rounds", "-1"}, "at least 1", exitUsage},
		{"no endurance", []string{"--endurance", "0"}, "at least 1", exitUsage},
		{"no session", []string{"--sessions", "0"}, "at least 1", exitUsage},
		{"more sessions than one principal may have", []string{"--sessions", "9001"}, "at most 9000", exitUsage},
		{"answer", []string{"--answer", "xml"}, `--answer "xml"`, exitUsage},
		{"no worker", []string{"--concurrency", "0"}, "from 1 to 256", exitUsage},
		{"more workers than one principal may have calls", []string{"--concurrency", "257"}, "from 1 to 256", exitUsage},
		{"empty list", []string{"--concurrency", ""}, "not a number", exitUsage},
		{"no size", []string{"--sizes", "100,"}, "not a number", exitUsage},
		{"size above the limit", []string{"--sizes", "2m"}, "from 1 to 1048576", exitUsage},
		{"size that overflows", []string{"--sizes", "9223372036854775807k"}, "not a number", exitUsage},
		{"unit alone", []string{"--sizes", "k"}, "not a number", exitUsage},
		{"no sidecar there", []string{"--sidecar", "/nonexistent/mcp-sidecar"}, "make build", exitFailure},
	} {
		t.Run(row.name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := run(t.Context(), row.args, streams{nil, &stderr, &stderr}); code != row.code || !strings.Contains(stderr.String(), row.want) {
				t.Errorf("exit %d: %s\nwant %d: %s", code, stderr.String(), row.code, row.want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	if _, err := parseOptions([]string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	for _, want := range []string{"--concurrency LIST", "(default 1,8,32,128)", "--sizes LIST", "(default 100,10k,1m)", "Exit codes:"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, out.String())
		}
	}
}
