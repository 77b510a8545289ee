package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// check identifies one check of the suite. Its name belongs to it: one id
// stands for several requests whose checks only the names tell apart.
type check struct {
	Scenario string
	ID       string
	Name     string
}

func (c check) String() string { return c.Scenario + " / " + c.ID + " / " + c.Name }

func (c check) compare(o check) int {
	return cmp.Or(cmp.Compare(c.Scenario, o.Scenario), cmp.Compare(c.ID, o.ID), cmp.Compare(c.Name, o.Name))
}

// tally counts how often a check passed and failed in one run. A few checks
// come several times under one name.
type tally struct {
	passed, failed int
	why            string // of the last failure
}

// results are the checks of a run. Warnings and notes are in neither count.
type results map[check]tally

// Statuses in checks.json that count.
const (
	success = "SUCCESS"
	failure = "FAILURE"
)

func (r results) counts() (passed, failed int) {
	for _, t := range r {
		passed += t.passed
		failed += t.failed
	}
	return passed, failed
}

// put replaces what is known of scenario, also by nothing.
func (r results) put(scenario string, other results) {
	maps.DeleteFunc(r, func(c check, _ tally) bool { return c.Scenario == scenario })
	maps.Copy(r, other)
}

// best takes of each check the run in which it passed more often.
func (r results) best(other results) {
	for c, t := range other {
		if have, ok := r[c]; !ok || t.passed > have.passed {
			r[c] = t
		}
	}
}

// regression is a check that is worse through the sidecar.
type regression struct {
	check
	direct, through tally
}

func (r regression) String() string {
	switch {
	case r.through.passed+r.through.failed == 0:
		return r.check.String() + ": does not pass, or is missing"
	case r.direct.passed+r.direct.failed > 1:
		return fmt.Sprintf("%s: passes %d times instead of %d: %s", r.check, r.through.passed, r.direct.passed, r.through.why)
	default:
		return r.check.String() + ": " + r.through.why
	}
}

// regressions are the checks that pass less often or fail more often in through
// than in direct. What through does not mention has not passed.
func regressions(direct, through results) []regression {
	var found []regression
	for c, d := range direct {
		if t := through[c]; t.passed < d.passed || t.failed > d.failed {
			found = append(found, regression{c, d, t})
		}
	}
	for c, t := range through {
		if _, known := direct[c]; !known && t.failed > 0 {
			found = append(found, regression{c, tally{}, t})
		}
	}
	slices.SortFunc(found, func(a, b regression) int { return a.compare(b.check) })
	return found
}

// exemption excuses checks of one scenario from passing with a stdio upstream. It
// excuses no failure: the suite warns or notes there.
type exemption struct {
	scenario string
	ids      []string
	reason   string
}

// stdioExemptions are checks of what only an HTTP upstream has. Anything else
// that does not pass in front of a stdio server is a regression.
var stdioExemptions = []exemption{
	{"server-sse-polling", []string{"server-sse-retry-field"},
		"an HTTP server that closes the stream of a call says when to come back for the rest; a pipe is not closed, and nobody keeps the rest"},
	{"server-sse-multiple-streams", []string{"server-sse-streams-functional"},
		"the server on a pipe sends one message for each call, so the sidecar answers with JSON; the suite calls streams optional then and only notes it"},
}

func exempt(list []exemption, r regression) bool {
	return r.through.failed == 0 && slices.ContainsFunc(list, func(e exemption) bool {
		return e.scenario == r.Scenario && slices.Contains(e.ids, r.ID)
	})
}

// folder is what the suite calls the folder of one scenario: "server-", the
// scenario, the time.
var folder = regexp.MustCompile(`^server-(.+)-\d{4}-\d{2}-\d{2}T[\d-]+Z$`)

// readResults reads what the suite wrote into dir.
func readResults(dir string) (results, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	all := results{}
	for _, e := range entries {
		m := folder.FindStringSubmatch(e.Name())
		if m == nil {
			return nil, fmt.Errorf("the suite wrote %q, which is no scenario's folder", e.Name())
		}
		if err := all.read(m[1], filepath.Join(dir, e.Name(), "checks.json")); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r results) read(scenario, file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the scenario broke off: its checks are missing
	}
	if err != nil {
		return err
	}
	var checks []struct{ ID, Name, Status, ErrorMessage string }
	if err := json.Unmarshal(text, &checks); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, c := range checks {
		key := check{scenario, c.ID, c.Name}
		t := r[key]
		switch c.Status {
		case success:
			t.passed++
		case failure:
			t.failed++
			t.why = c.ErrorMessage
		}
		r[key] = t
	}
	return nil
}
