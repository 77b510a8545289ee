package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	busy, err := listen(t.Context(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	nobody, err := listen(t.Context(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	down := "http://" + nobody.Addr().String() + "/mcp"

	for _, row := range []struct {
		name string
		args []string
		want int
		says string // on stderr
	}{
		{"unknown flag", []string{"--nonsense"}, exitUsage, "not defined"},
		{"argument", []string{"auth"}, exitUsage, `unexpected argument "auth"`},
		{"stdio and a URL", []string{"--transport", "stdio", "--direct", "http://127.0.0.1:1/mcp"}, exitUsage, "excludes --direct"},
		{"unknown transport", []string{"--transport", "smoke"}, exitUsage, `--transport "smoke"`},
		{"unknown revision", []string{"--revision", "2024-11-05"}, exitUsage, "2026-07-28, 2025-11-25"},
		{"unknown scenario", []string{"--only", "auth,astrology"}, exitUsage, `"astrology": no such scenario`},
		{"empty scenario", []string{"--only", ""}, exitUsage, "no such scenario"},
		{"no URL", []string{"--direct", "localhost:9001"}, exitUsage, `--direct "localhost:9001"`},
		{"issuer for the network", []string{"--issuer", "0.0.0.0:9000"}, exitUsage, "want a loopback address"},
		{"fakes for the network", []string{"--fakes", ":9000"}, exitUsage, "want a loopback address"},
		{"prepare without a folder", []string{"--prepare"}, exitUsage, "--prepare needs"},
		{"issuer's address in use", []string{"--issuer", busy.Addr().String()}, exitInUse, "issuer: "},
		{"fakes' address in use", []string{"--fakes", busy.Addr().String()}, exitInUse, "fakes: "},
		{"programs missing", []string{"--bin", t.TempDir()}, exitFailure, "make build"},
		{"given server is down", []string{"--direct", down, "--proxied", down}, exitDependency, "direct, as alice"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			var stdout, stderr bytes.Buffer
			if got := run(t.Context(), row.args, &stdout, &stderr); got != row.want {
				t.Errorf("exit code %d, want %d: %s", got, row.want, &stderr)
			}
			if !strings.Contains(stderr.String(), row.says) {
				t.Errorf("stderr %q lacks %q", &stderr, row.says)
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout %q", &stdout)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	needs(t, "docserver")
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	if got := run(ctx, []string{"--bin", bin}, &stdout, &stderr); got != exitFailure {
		t.Errorf("exit code %d: %s", got, &stderr)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestHelp(t *testing.T) {
	for _, flag := range []string{"-h", "--help"} {
		var stdout, stderr bytes.Buffer
		if got := run(t.Context(), []string{flag}, &stdout, &stderr); got != exitOK {
			t.Errorf("%s: exit code %d", flag, got)
		}
		if !strings.Contains(stdout.String(), "--only NAME") || stderr.Len() > 0 {
			t.Errorf("%s: stdout %q, stderr %q", flag, &stdout, &stderr)
		}
	}
}

func TestChosen(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"all", nil, "matrix auth secrets injection hidden command arguments scope consent ssrf egress passthrough identity stepup session keys deputy reload"},
		{"repeated", []string{"--only", "ssrf", "--only=auth"}, "auth ssrf"},
		{"comma list", []string{"--only", "consent,matrix"}, "matrix consent"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o, err := parseOptions(row.args, new(bytes.Buffer))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range o.chosen() {
				got = append(got, s.name)
			}
			if strings.Join(got, " ") != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
