package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/policy"
)

// TestRulebook: questions are answered as they say, and an answer that is wrong is
// noticed.
func TestRulebook(t *testing.T) {
	r, err := newRulebook(1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, questions := range [][]asked{r.one, r.all} {
		if _, _, err := r.ask(questions); err != nil {
			t.Error(err)
		}
		questions[len(questions)-1].allowed = !questions[len(questions)-1].allowed
		if _, _, err := r.ask(questions); err == nil {
			t.Error("a wrong answer is not noticed")
		}
	}
}

// TestReload: what is in force afterwards, and what was refused meanwhile, is seen.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.csv")
	write := func(more string) {
		if err := os.WriteFile(path, []byte(manyRules(100)+more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	now := time.Now()
	live, err := policy.NewLive(t.Context(), policy.NewFile(path), policy.LiveOptions{MaxAge: time.Hour, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reload(t.Context(), live, false); err == nil || !strings.Contains(err.Error(), "not in force") {
		t.Errorf("nothing has changed: %v", err)
	}
	const late = "p, user:late, docs/asked, call\n"
	write(late)
	if r, err := reload(t.Context(), live, true); err != nil || r.Wrong != 0 || r.Decisions == 0 || r.Took <= 0 || r.Wait <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	write("")
	if _, err := reload(t.Context(), live, true); err == nil {
		t.Error("another policy than is expected")
	}
	write(late)
	now = now.Add(time.Hour) // nothing is decided before the reload
	if r, err := reload(t.Context(), live, true); err != nil || r.Wrong == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
