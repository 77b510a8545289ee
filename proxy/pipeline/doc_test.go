package pipeline

import (
	"os"
	"regexp"
	"slices"
	"testing"
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
