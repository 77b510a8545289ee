package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/sidecar"
)

type testFlags struct {
	file, tools string
	json        bool
}

func policyTestCommand(io Streams) *cobra.Command {
	var f testFlags
	c := &cobra.Command{
		Use:   "test -c FILE EXPECTATIONS",
		Short: "Hold the policy to a file of expectations",
		Long: `test decides every question of a YAML file and says which answers are not as
expected. A question about a tool goes through all that is decided before a call is
forwarded, as in check; one about a resource and an action asks the policy alone.

  version: 1
  tests:
    - actor: carol                      # with or without user:
      tool: docs/delete_document        # server/tool
      args: { id: 7, confirm: true }    # default: none
      scopes: ["documents:*"]           # default: those that the tool needs
      roles: [editor]                   # that the token gives, beside the policy's
      expect: deny                      # allow or deny
      reason: role                      # optional: role, scope, consent, ssrf …
    - name: editors may not create      # optional
      actor: bob
      resource: document                # instead of tool
      action: create
      expect: deny
      rule: "role:editor"               # optional: part of the rule that decides

Exit code 0 means that all are met, 5 that one is not.`,
		Example: `  mcp-sidecar policy test -c sidecar.yaml policy.test.yaml
  mcp-sidecar policy test -c sidecar.yaml policy.test.yaml --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return policyTest(c.Context(), args[0], f, io) },
	}
	configFlag(c, &f.file)
	jsonFlag(c, &f.json)
	c.Flags().StringVar(&f.tools, "tools", "", "`FILE` with the answer of a tools/list")
	return c
}

func policyTest(ctx context.Context, file string, f testFlags, io Streams) error {
	tests, err := expectations(file, io)
	if err != nil {
		return err
	}
	_, j, err := judgeOf(f.file, f.tools, io)
	if err != nil {
		return err
	}
	defer j.Close()
	results := runTests(ctx, j, tests)
	if f.json {
		err = writeJSON(io.Out, testReport{1, file, len(results), failures(results), results})
	} else {
		var p page
		showTests(&p, file, results)
		err = p.to(io.Out)
	}
	if err != nil {
		return err
	}
	return unmet(file, results)
}

// expectations reads a file of them.
func expectations(file string, io Streams) ([]config.Expectation, error) {
	text, err := readInput(file, io.In)
	if err != nil {
		return nil, fmt.Errorf("expectations: %w", err)
	}
	tests, err := config.ParseExpectations(file, text)
	if err != nil {
		var problems config.Errors
		if errors.As(err, &problems) {
			err = fmt.Errorf("%d problem(s)\n%s", len(problems), problems.Explain())
		}
		return nil, exit(ExitConfig, err)
	}
	return tests, nil
}

// testResult is what came of one expectation.
type testResult struct {
	Line     int      `json:"line"`
	Name     string   `json:"name"`
	Expected string   `json:"expected"`
	Got      string   `json:"got"`
	Stage    string   `json:"stage,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Rule     string   `json:"rule,omitempty"`
	OK       bool     `json:"ok"`
	Wrong    []string `json:"wrong,omitempty"` // in words
}

type testReport struct {
	Version int          `json:"version"`
	File    string       `json:"file"`
	Tests   int          `json:"tests"`
	Failed  int          `json:"failed"`
	Results []testResult `json:"results"`
}

func runTests(ctx context.Context, j *sidecar.Judge, tests []config.Expectation) []testResult {
	var results []testResult
	for _, e := range tests {
		r := testResult{Line: e.Line, Name: nameOf(e), Expected: string(e.Expect)}
		if e.Tool == "" {
			r.ask(j, e)
		} else {
			r.call(ctx, j, e)
		}
		r.compare(e)
		results = append(results, r)
	}
	return results
}

func nameOf(e config.Expectation) string {
	what := e.Tool
	if what == "" {
		what = e.Action + " " + e.Resource
	}
	question := strings.TrimPrefix(e.Actor, "user:") + ": " + what
	if e.Name == "" {
		return question
	}
	return e.Name + " (" + question + ")"
}

// ask is about the policy alone.
func (r *testResult) ask(j *sidecar.Judge, e config.Expectation) {
	d := j.Ask(e.Actor, policy.Permission{Object: e.Resource, Action: e.Action}, asRoles(e.Roles)...)
	r.Got, r.Rule = "deny", d.Rule
	if d.Allowed {
		r.Got = "allow"
		return
	}
	r.Stage, r.Reason = "authorize", "role"
}

// call is about a tool.
func (r *testResult) call(ctx context.Context, j *sidecar.Judge, e config.Expectation) {
	q := sidecar.Question{Actor: e.Actor, Roles: asRoles(e.Roles), AnyScopes: e.Scopes == nil, Tool: e.Tool, Args: []byte(e.Args)}
	if e.Scopes != nil {
		q.Scopes = *e.Scopes
	}
	v, err := j.Judge(ctx, q)
	if err != nil {
		r.Got, r.Wrong = "error", []string{err.Error()}
		return
	}
	r.Got, r.Stage, r.Reason, r.Rule = "deny", v.Record.Stage, v.Record.Reason, v.Record.Rule
	if v.Allowed {
		r.Got = "allow"
	}
}

func (r *testResult) compare(e config.Expectation) {
	if r.Got != r.Expected {
		r.Wrong = append(r.Wrong, "expected "+r.Expected+", got "+r.Got)
	}
	if e.Reason != "" && e.Reason != r.Reason {
		r.Wrong = append(r.Wrong, fmt.Sprintf("expected the reason %q, got %q", e.Reason, r.Reason))
	}
	if e.Rule != "" && !strings.Contains(r.Rule, e.Rule) {
		r.Wrong = append(r.Wrong, fmt.Sprintf("expected a rule with %q, got %q", e.Rule, r.Rule))
	}
	r.OK = len(r.Wrong) == 0
}

func failures(results []testResult) (n int) {
	for _, r := range results {
		if !r.OK {
			n++
		}
	}
	return n
}

// showTests prints what is not as expected.
func showTests(p *page, file string, results []testResult) {
	for _, r := range results {
		if r.OK {
			continue
		}
		p.line("FAIL  %s:%d  %s", file, r.Line, r.Name)
		for _, w := range r.Wrong {
			p.line("      - %s", w)
		}
		if r.Got == "deny" || r.Got == "allow" {
			p.line("      decided by: %s", because(r))
		}
	}
	p.line("%d of %d expectations met", len(results)-failures(results), len(results))
}

// because says what decided.
func because(r testResult) string {
	var parts []string
	for _, s := range []string{r.Stage, r.Reason, r.Rule} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if len(parts) == 0 {
		return "no row, so the default: deny"
	}
	return strings.Join(parts, ", ")
}

// unmet is the error of results that are not as expected.
func unmet(file string, results []testResult) error {
	if n := failures(results); n > 0 {
		return exit(ExitUnmet, fmt.Errorf("%s: %d expectation(s) not met", visible(file), n))
	}
	return nil
}
