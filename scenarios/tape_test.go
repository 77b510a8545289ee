package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestTape: a program between two others passes everything on, and every line is
// in the file before it is.
func TestTape(t *testing.T) {
	needs(t, "scenarios")
	file := tape(filepath.Join(t.TempDir(), "lines"))
	if file.mark() != 0 || file.since(0) != nil {
		t.Error("a tape that does not exist holds something")
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "scenarios"), tapeCommand, string(file), "/bin/sh", "-c", "cat; echo $0 $ONE >&2; exit 7", "arg")
	cmd.Env = append(os.Environ(), "ONE=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := `{"method":"tools/call","params":{"name":"say"},"secret":"open-sesame-1742"}` + "\n"
	echoed := make([]byte, len(line))
	for range 2 {
		mark := file.mark()
		_, _ = io.WriteString(in, line)
		if _, err := io.ReadFull(out, echoed); err != nil || string(echoed) != line {
			t.Fatalf("%q, %v", echoed, err)
		}
		got := file.since(mark)
		if len(got) != 1 || string(got[0].body) != line || !got[0].calls("say") || !got[0].holds("open-sesame-1742") || got[0].holds("another-sesame-1") {
			t.Errorf("recorded %q", got)
		}
	}
	_ = in.Close()
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 || stderr.String() != "arg 1\n" {
		t.Errorf("exit code %d, stderr %q", code, stderr.String())
	}
}
