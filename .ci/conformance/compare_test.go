package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var (
	one   = check{"tools-list", "tools-list", "ToolsList"}
	two   = check{"tools-list", "wire", "Wire"}
	other = check{"ping", "ping", "Ping"}
)

// What is worse through the sidecar is found, whatever the counts say.
func TestRegressions(t *testing.T) {
	direct := results{one: {passed: 1}, two: {passed: 3}, other: {failed: 1}}
	for _, row := range []struct {
		name    string
		through results
		want    []check
	}{
		{"the same", direct, nil},
		{"nothing", results{}, []check{one, two}},
		{"a check is missing", results{two: {passed: 3}, other: {failed: 1}}, []check{one}},
		{"a check fails", results{one: {failed: 1}, two: {passed: 3}}, []check{one}},
		{"a check neither passes nor fails", results{one: {}, two: {passed: 3}}, []check{one}},
		{"one of three is missing", results{one: {passed: 1}, two: {passed: 2}}, []check{two}},
		{"another one fails, and the count stays", results{one: {failed: 1}, two: {passed: 3}, other: {passed: 1}}, []check{one}},
		{"what failed passes", results{one: {passed: 1}, two: {passed: 3}, other: {passed: 1}}, nil},
		{"what was not there fails", results{one: {passed: 1}, two: {passed: 3}, {"new", "new", "New"}: {failed: 1}}, []check{{"new", "new", "New"}}},
		{"what was not there passes", results{one: {passed: 1}, two: {passed: 3}, {"new", "new", "New"}: {passed: 1}}, nil},
		{"the same name in another scenario", results{{"other", one.ID, one.Name}: {passed: 1}, two: {passed: 3}}, []check{one}},
	} {
		var got []check
		for _, r := range regressions(direct, row.through) {
			got = append(got, r.check)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

// An exemption excuses the checks that it names and no others.
func TestExemptions(t *testing.T) {
	list := []exemption{{scenario: one.Scenario, ids: []string{one.ID}, reason: "a reason"}}
	for _, row := range []struct {
		name string
		regression
		want bool
	}{
		{"a note", regression{check: one}, true},
		{"a failure", regression{check: one, through: tally{failed: 1}}, false},
		{"another check", regression{check: two}, false},
		{"the same id in another scenario", regression{check: check{"ping", one.ID, one.Name}}, false},
	} {
		if exempt(list, row.regression) != row.want {
			t.Errorf("%s: %v", row.name, !row.want)
		}
	}
	for _, e := range stdioExemptions {
		if e.scenario == "" || len(e.ids) == 0 || e.reason == "" {
			t.Errorf("exemption %+v lacks its scenario, checks or reason", e)
		}
	}
}

// A scenario that was run again counts as it ended then, also when it broke off.
func TestPutForgetsTheFirstRun(t *testing.T) {
	r := results{one: {passed: 1}, two: {passed: 1}, other: {passed: 1}}
	r.put("tools-list", results{one: {failed: 1}})
	if _, still := r[two]; still || r[one].failed != 1 || r[other].passed != 1 {
		t.Errorf("results %v", r)
	}
	r.put("ping", results{})
	if _, still := r[other]; still {
		t.Errorf("results %v", r)
	}
}

func TestReadResults(t *testing.T) {
	dir := t.TempDir()
	write := func(folder, text string) {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if text == "" {
			return
		}
		if err := os.WriteFile(filepath.Join(dir, folder, "checks.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("server-tools-list-2026-11-25T22-57-22-536Z", `[
		{"id":"a","name":"A","status":"SUCCESS"},{"id":"a","name":"A","status":"FAILURE","errorMessage":"why"},
		{"id":"b","name":"B","status":"WARNING"},{"id":"c","name":"C","status":"SKIPPED"}]`)
	write("server-ping-2026-11-25T22-57-22-536Z", "")
	got, err := readResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := results{{"tools-list", "a", "A"}: {1, 1, "why"}, {"tools-list", "b", "B"}: {}, {"tools-list", "c", "C"}: {}}
	if passed, failed := got.counts(); len(got) != len(want) || passed != 1 || failed != 1 {
		t.Errorf("results %v", got)
	}
	for c, tally := range want {
		if have, known := got[c]; !known || have != tally {
			t.Errorf("%v: %v, want %v", c, have, tally)
		}
	}
	write("surprise", "[]")
	if _, err := readResults(dir); err == nil {
		t.Error("a folder of an unknown name was passed over")
	}
}
