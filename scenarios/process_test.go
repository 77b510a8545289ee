package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// script writes an executable shell script.
func script(t *testing.T, text string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

func TestStartAndStop(t *testing.T) {
	dir, path := script(t, `sleep 60 &
trap 'kill $!; echo told to end >&2; exit 0' TERM
echo a line before
echo "program listening on http://127.0.0.1:1/mcp ($1)"
wait
`)
	p, err := start(t.Context(), dir, "program", path, nil, "argument")
	if err != nil {
		t.Fatal(err)
	}
	if want := "http://127.0.0.1:1/mcp (argument)"; p.url != want {
		t.Errorf("URL %q, want %q", p.url, want)
	}
	if p.ended() {
		t.Error("ended before it was stopped")
	}
	p.stop()
	if !p.ended() || !strings.Contains(p.tail(), "| told to end") {
		t.Errorf("ended: %v, %s", p.ended(), p.tail())
	}
}

func TestStartFails(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"ends at once", "echo the reason >&2; exit 3\n", "program ended at once: exit status 3"},
		{"ends well", "echo the reason >&2; exit 0\n", "program ended at once: exit status 0"},
		{"says something else", "echo the reason >&2; echo hello; exit 1\n", "program ended at once: exit status 1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, path := script(t, row.text)
			_, err := start(t.Context(), dir, "program", path, nil)
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "| the reason") {
				t.Errorf("error %v, want %q and the end of stderr", err, row.want)
			}
		})
	}
}

func TestStartGivesUp(t *testing.T) {
	dir, path := script(t, "exec sleep 60\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := start(ctx, dir, "program", path, nil)
	if err == nil || !strings.Contains(err.Error(), "did not say where it listens") {
		t.Errorf("error %v", err)
	}
}

func TestStartWithoutProgram(t *testing.T) {
	_, err := start(t.Context(), t.TempDir(), "docserver", filepath.Join(t.TempDir(), "none"), nil)
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("error %v", err)
	}
}

func TestChildEnvironment(t *testing.T) {
	t.Setenv("SIDECAR_LISTEN", "0.0.0.0:1")
	t.Setenv("DATABASE_URL", "postgres://elsewhere/db")
	t.Setenv("HTTP_PROXY", "http://proxy:1")
	t.Setenv("PATH", "/bin")
	env := childEnvironment()
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "SIDECAR_") || name == "DATABASE_URL" || name == "HTTP_PROXY" {
			t.Errorf("%s reaches the programs", name)
		}
	}
	if !strings.Contains(strings.Join(env, "\n"), "PATH=/bin") {
		t.Errorf("PATH is missing from %q", env)
	}
}
