package main

import "testing"

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
