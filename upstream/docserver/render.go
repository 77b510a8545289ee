package docserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

const (
	countTime   = 10 * time.Second // for one run of wc
	pipeTime    = time.Second      // for a background job of the shell to let go of the output
	countOutput = 64 << 10         // bytes of output kept
)

// counter counts text as format says and returns what the command printed.
type counter func(ctx context.Context, format, text string) (string, error)

// formats are the options of wc behind the words that callers use.
var formats = []struct{ word, option string }{
	{"words", "-w"},
	{"lines", "-l"},
	{"chars", "-m"},
}

// countArgv is the safe way: format only selects a constant, and no shell reads it.
func countArgv(ctx context.Context, format, text string) (string, error) {
	for _, f := range formats {
		if f.word == format {
			return run(ctx, text, "", "wc", f.option)
		}
	}
	return "", fmt.Errorf("unknown format %q: want words, lines or chars", format)
}

// shell counts through sh, in a scratch folder.
type shell struct {
	dir string // as checkScratch returned it
}

func (s shell) count(ctx context.Context, format, text string) (string, error) {
	// A shell without this very folder would run elsewhere: an attack may have
	// removed it, or put a symbolic link to something dear in its place.
	dir, err := checkScratch(s.dir)
	if err != nil {
		return "", err
	}
	if dir != s.dir {
		return "", fmt.Errorf("%w: %q now leads to %q", ErrScratch, s.dir, dir)
	}
	return run(ctx, text, dir, "/bin/sh", "-c", commandLine(format))
}

// commandLine turns "words" into "wc -w".
func commandLine(format string) string {
	for _, f := range formats {
		if rest, ok := strings.CutPrefix(format, f.word); ok {
			// INTENDED HOLE: what follows the word is the caller's, and a shell reads
			// it: "words; rm -rf ~" deletes the home folder (CWE-78).
			return "wc " + f.option + rest
		}
	}
	// INTENDED HOLE: a format that is none of the words goes to the shell whole.
	return "wc " + format
}

// run starts a command with text on its stdin and returns its trimmed output.
// Whatever was printed counts as success, as far as the naive server cares. home
// becomes HOME and the working directory; empty leaves both out.
func run(ctx context.Context, text, home string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	var stdout, stderr capped
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = home // a folder that is gone makes Start fail
	cmd.Env = environment(home)
	cmd.Stdin = strings.NewReader(text)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = pipeTime
	ownGroup(cmd)
	err := cmd.Run()
	if stdout.full || stderr.full {
		return "", fmt.Errorf("%s printed more than %d bytes", name, countOutput)
	}
	out := strings.TrimSpace(stdout.buf.String())
	if err != nil && out == "" {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.buf.String()))
	}
	return out, nil
}

// environment holds nothing that an attacker's command could steal. The locale
// makes "chars" count characters, not bytes.
func environment(home string) []string {
	locale := "C.UTF-8"
	if runtime.GOOS == "darwin" {
		locale = "en_US.UTF-8" // older versions lack the other
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=" + locale}
	if home != "" {
		env = append(env, "HOME="+home)
	}
	return env
}

var errFull = errors.New("output limit reached")

// capped keeps up to countOutput bytes and refuses more. The buffer is not
// embedded: its ReadFrom would go around the limit.
type capped struct {
	buf  bytes.Buffer
	full bool
}

// Write implements [io.Writer].
func (c *capped) Write(p []byte) (int, error) {
	if c.buf.Len()+len(p) > countOutput {
		c.full = true
		return 0, errFull
	}
	return c.buf.Write(p)
}
