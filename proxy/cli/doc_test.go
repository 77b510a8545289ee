package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var docBlock = regexp.MustCompile("(?ms)^```(yaml|csv|console)\n(.*?)^```$")

// TestPolicyDocument runs docs/policy.md from top to bottom: blocks that begin with the
// name of a file become that file, and commands print what stands below them.
func TestPolicyDocument(t *testing.T) {
	file, err := filepath.Abs("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	commands := 0
	got := docBlock.ReplaceAllStringFunc(string(text), func(block string) string {
		m := docBlock.FindStringSubmatch(block)
		first, rest, _ := strings.Cut(m[2], "\n")
		if m[1] != "console" {
			name, ok := strings.CutPrefix(first, "# ")
			if !ok {
				t.Errorf("the block names no file: %s", first)
			}
			if err := os.WriteFile(name, []byte(m[2]), 0o600); err != nil {
				t.Error(err)
			}
			return block
		}
		commands++
		out := first + "\n" + printed(t, first)
		if !*update && out != first+"\n"+rest {
			t.Errorf("%s prints\n%s\nthe document says\n%s", first, out, rest)
		}
		return "```console\n" + out + "```"
	})
	if commands < 8 {
		t.Errorf("%d commands", commands)
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// printed is what a reader sees of a command: both streams, and an exit code that is
// not 0.
func printed(t *testing.T, line string) string {
	t.Helper()
	words := shellWords(strings.TrimPrefix(line, "$ "))
	if words[0] != "mcp-sidecar" {
		t.Fatalf("not ours: %s", line)
	}
	got := run(t, words[1:]...)
	out := got.out + got.stderr
	if got.code != ExitOK {
		out += fmt.Sprintf("(exit code %d)\n", got.code)
	}
	return out
}

// shellWords splits at blanks outside single quotes.
func shellWords(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}
