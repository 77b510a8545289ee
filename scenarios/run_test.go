package main

import (
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/scenarios/issuer"
)

// TestTable checks what every scenario owes its reader.
func TestTable(t *testing.T) {
	users := make(map[string]bool)
	for _, row := range rows {
		users[row.user] = true
	}
	seen := make(map[string]bool)
	for _, s := range scenarios() {
		if s.name == "" || s.title == "" || seen[s.name] {
			t.Errorf("scenario %q: empty or used twice", s.name)
		}
		seen[s.name] = true
		for _, tr := range s.trials {
			title := s.name + "/" + tr.title()
			if seen[title] {
				t.Errorf("%s: twice", title)
			}
			seen[title] = true
			if !users[tr.user] || !slices.Contains(toolNames, tr.tool) && (tr.tool != "" || tr.send == nil) {
				t.Errorf("%s: user %q, tool %q", title, tr.user, tr.tool)
			}
			if tr.logsIn && (!tr.own || !tr.overHTTP || tr.send == nil) {
				t.Errorf("%s: nobody logs in over a pipe, or by the connections that are there", title)
			}
			if (tr.headers != nil || tr.way != "") && !tr.overHTTP {
				t.Errorf("%s: a pipe has no headers and leads one way", title)
			}
			if tr.direct.Outcome == "" || tr.direct.Text == "" || tr.proxied.Outcome == "" || tr.proxied.Text == "" {
				t.Errorf("%s: an expectation is missing", title)
			}
			decisive := func(e effect) bool { return e.direct != e.proxied }
			if tr.harmful && !slices.ContainsFunc(tr.effects, decisive) {
				t.Errorf("%s: nothing measures whether the attack worked", title)
			}
			if !tr.harmful && (tr.direct.Outcome != allowed || tr.proxied.Outcome != allowed) {
				t.Errorf("%s: a legitimate call must pass both ways", title)
			}
		}
	}
}

func TestTokensOfTheTable(t *testing.T) {
	tokens := mintTokens(issuer.New(issuer.Config{URL: "http://issuer.example", ClientID: introspectionClient}))
	values := make(map[string]string)
	for name, token := range tokens {
		if other, twice := values[token]; twice {
			t.Errorf("%q and %q are the same token", name, other)
		}
		values[token] = name
	}
	for _, s := range scenarios() {
		for _, tr := range s.trials {
			if tokens[tr.user] == "" || tr.token != "" && tokens[tr.token] == "" {
				t.Errorf("%s: no token", tr.title())
			}
		}
	}
}

func TestSummaryOfTheTable(t *testing.T) {
	rep := &report{}
	for _, s := range scenarios() {
		rep.Sections = append(rep.Sections, *sampleSection(s))
	}
	want := summary{Sections: 18, Attacks: 52, AttacksDirect: 52, Legitimate: 19, LegitimatePassed: 19}
	if got := summarize(rep); got != want {
		t.Errorf("summary %+v, want %+v", got, want)
	}
}

// TestVerdict takes one attack that is as expected and spoils one thing at a time.
func TestVerdict(t *testing.T) {
	for _, row := range []struct {
		name            string
		spoil           func(*result)
		direct, proxied bool // did the attack work there?
		ok              bool
	}{
		{"as expected", func(*result) {}, true, false, true},
		{"works through the sidecar", func(r *result) {
			r.Proxied.Answer = r.Direct.Answer
			r.Effects[0].Proxied = "gone"
		}, true, true, false},
		{"is reported as refused and happens all the same", func(r *result) { r.Effects[0].Proxied = "gone" }, true, true, false},
		{"wording of the refusal differs", func(r *result) { r.Proxied.Answer.Text = "no" }, true, false, false},
		{"no longer works directly", func(r *result) {
			r.Direct.Answer = answer{rejected, "not any more"}
			r.Effects[0].Direct = "there"
		}, false, false, false},
		{"is reported as done and did not happen", func(r *result) { r.Effects[0].Direct = "there" }, false, false, false},
		{"effects not measured", func(r *result) { r.Effects[0].Direct, r.Effects[0].Proxied = notMeasured, notMeasured }, true, false, true},
		{"answered, effects not measured", func(r *result) {
			r.Effects[0].Proxied = notMeasured
			r.Proxied.Answer = r.Direct.Answer
		}, true, true, false},
		{"answered as expected, effects not measured", func(r *result) {
			r.Effects[0].Proxied = notMeasured
			r.Proxied.Expected = answer{allowed, "a harmless answer"}
			r.Proxied.Answer = r.Proxied.Expected
		}, true, false, true},
		{"no answer and no look afterwards: it may have worked", func(r *result) {
			r.Proxied.Answer = answer{failed, "connection refused"}
			r.Effects[0].Proxied = "reading document 1: connection refused"
		}, true, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := sampleCase(consent().trials[0])
			row.spoil(&r)
			r.Problems = nil
			r.judge()
			if got := r.workedDirectly(); got != row.direct {
				t.Errorf("worked directly: %v, want %v", got, row.direct)
			}
			if got := r.workedThroughSidecar(); got != row.proxied {
				t.Errorf("worked through the sidecar: %v, want %v", got, row.proxied)
			}
			if got := len(r.Problems) == 0; got != row.ok {
				t.Errorf("as expected: %v, want %v: %q", got, row.ok, r.Problems)
			}
		})
	}
}

func TestNamedID(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       int
		ok         bool
	}{
		{"created", "created document id=7 (created_by alice)", 7, true},
		{"imported", "imported https://example.com/policy.txt as document id=12", 12, true},
		{"none", "denied: user \"dave\" has no role", 0, false},
		{"too large", "id=99999999999999999999", 0, false},
		{"inside a word", "grid=3", 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if id, ok := namedID(row.text); ok != row.ok || ok && id != row.want {
				t.Errorf("got %d, %v", id, ok)
			}
		})
	}
}

func TestFillAnswers(t *testing.T) {
	e := event{id: 3, answer: answer{allowed, "imported x as document id=5"}}
	if got := (answer{allowed, "{id} {new} {other}"}).fill(e); got.Text != "3 5 {other}" {
		t.Errorf("got %q", got.Text)
	}
	a := args{"id": idArgument, "content": "text"}
	if got := withID(a, 9); got["id"] != 9 || got["content"] != "text" || a["id"] != idArgument {
		t.Errorf("got %v from %v", got, a)
	}
}

// What was not run counts as nothing, not as well.
func TestNotRun(t *testing.T) {
	r := &runner{httpDirect: &column{}, httpProxied: &column{}}
	rep := &report{Sections: []section{{}}}
	for _, tr := range stepUp().trials {
		if tr.logsIn {
			rep.Sections[0].Cases = append(rep.Sections[0].Cases, r.trial(t.Context(), tr))
		}
	}
	if got := summarize(rep); len(rep.Sections[0].Cases) != 2 || got != (summary{Sections: 1}) {
		t.Errorf("summary %+v", got)
	}
	var b strings.Builder
	renderSection(&b, &rep.Sections[0])
	want := "  alice logs in, and once more -> NOT RUN  | it needs servers that the demo starts\n"
	if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "direct") {
		t.Errorf("got:\n%s", b.String())
	}
}
