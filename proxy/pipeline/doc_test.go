package pipeline

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/proxy/wire"
)

// The order of the stages stands in one place, pipeline.go; prose that repeats it
// must not drift.
func TestDocumentsNameTheStagesInOrder(t *testing.T) {
	var want []string
	for _, s := range New(Options{}).stages() {
		want = append(want, s.name)
	}
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z-]+) \| .*\?`).FindAllSubmatch(text, -1) {
		got = append(got, string(row[1]))
	}
	got = append(got, "execute") // its row states a fact, not a question
	if !slices.Equal(got, want) {
		t.Errorf("docs/architecture.md lists %q, the pipeline runs %q", got, want)
	}
	if n := len(regexp.MustCompile(`\n`).FindAll(mustRead(t, "pipeline.go"), -1)); n > 200 {
		t.Errorf("pipeline.go has %d lines; the order of the checks should be found in one short file", n)
	}
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// docs/methods.md and the method table say the same.
func TestDocumentsNameEveryMethod(t *testing.T) {
	text, err := os.ReadFile("../../docs/methods.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "## From clients")
	clients, servers, _ := strings.Cut(rest, "## From servers")
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (yes)? ?\\| (yes|in results)? ?\\|")
	documented := map[string]bool{}
	for dir, part := range map[Direction]string{FromClient: clients, FromUpstream: servers} {
		for _, m := range row.FindAllStringSubmatch(part, -1) {
			for _, kind := range []wire.Kind{wire.Request, wire.Notification} {
				if strings.HasPrefix(m[1], "notifications/") != (kind == wire.Notification) {
					continue
				}
				documented[fmt.Sprint(dir, kind, m[1])] = true
				if got := methods[methodKey{dir, kind, m[1]}]; got == nil || got.legacy != (m[2] == "yes") || got.modern != (m[3] == "yes") {
					t.Errorf("%s %s is documented as old %q, new %q; the table has %+v", dir, m[1], m[2], m[3], got)
				}
			}
		}
	}
	for key := range methods {
		if !documented[fmt.Sprint(key.dir, key.kind, key.name)] {
			t.Errorf("%s %s %s is not documented", key.dir, key.kind, key.name)
		}
	}
}
