package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/sidecar"
)

type checkFlags struct {
	file, actor, tool, args, tools string
	scopes                         string
	roles                          []string
	json                           bool
}

func checkCommand(io Streams) *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check -c FILE --actor USER --tool TOOL [--args JSON]",
		Short: "Say what would become of a tool call, without making it",
		Long: `check puts one tool call through the pipeline that serve and wrap would run for
FILE, and prints what comes of it: the stage that decides, the rule with its line,
roles and scopes, and what would allow a call that is denied. No server is called,
no name is resolved, no secret is read and nothing is recorded. What an answer does
not cover is listed under "not judged".

Without --scopes the token counts as granting what the tool needs; --scopes ""
stands for a token that grants nothing. --tools takes the answer of a tools/list,
for annotations and URL arguments.

Exit code 0 means that the call is allowed, 6 that it is denied.`,
		Example: `  mcp-sidecar check -c sidecar.yaml --actor carol --tool docs/delete_document --args '{"id":7}'
  mcp-sidecar check -c sidecar.yaml --actor bob --tool import_url --args @call.json --scopes "documents:create"
  mcp-sidecar check -c sidecar.yaml --actor eve --roles editor --tool docs/read_document --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return checkCall(c, f, io) },
	}
	configFlag(c, &f.file)
	jsonFlag(c, &f.json)
	flags := c.Flags()
	flags.StringVar(&f.actor, "actor", "", "`USER` who calls, as the policy names him, with or without user:")
	flags.StringVar(&f.tool, "tool", "", "`TOOL` as server/tool; the tool alone where there is one server")
	flags.StringVar(&f.args, "args", "", "arguments as `JSON`, @FILE to read them from a file, @- from standard input")
	flags.StringVar(&f.scopes, "scopes", "", "`SCOPES` that the token grants, with blanks between them")
	flags.StringSliceVar(&f.roles, "roles", nil, "`ROLES` that the token gives, beside those of the policy, with commas between them")
	flags.StringVar(&f.tools, "tools", "", "`FILE` with the answer of a tools/list")
	return c
}

func checkCall(c *cobra.Command, f checkFlags, io Streams) error {
	q := sidecar.Question{Actor: f.actor, Roles: asRoles(f.roles), Scopes: strings.Fields(f.scopes), AnyScopes: !c.Flags().Changed("scopes"), Tool: f.tool}
	if f.actor == "" || f.tool == "" {
		return errors.New("check needs --actor and --tool")
	}
	var err error
	if q.Args, err = argument(f.args, io); err != nil {
		return fmt.Errorf("--args: %w", err)
	}
	cfg, j, err := judgeOf(f.file, f.tools, io)
	if err != nil {
		return err
	}
	defer j.Close()
	v, err := j.Judge(c.Context(), q)
	if err != nil {
		return err
	}
	shown := newVerdict(v, cfg, j)
	if shown.Name == "" { // what is malformed names nothing
		shown.Subject, shown.Name = f.actor, f.tool
	}
	if err := showVerdict(shown, f.json, io); err != nil {
		return err
	}
	if !v.Allowed {
		return exit(ExitDenied, nil)
	}
	return nil
}

// argument is a text from the command line, or the file that it names with an @.
func argument(text string, io Streams) (json.RawMessage, error) {
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return json.RawMessage(text), nil
	}
	return readInput(name, io.In)
}

// asRoles gives roles the prefix that they have in policies.
func asRoles(names []string) []string {
	var roles []string
	for _, n := range names {
		roles = append(roles, "role:"+strings.TrimPrefix(n, "role:"))
	}
	return roles
}

// verdict is what check prints.
type verdict struct {
	Version int    `json:"version"`
	Verdict string `json:"verdict"` // allow or deny
	decided
	NotJudged []string `json:"not_judged"`
}

// decided is a decision with all that led to it, from a record.
type decided struct {
	Subject  string   `json:"subject,omitempty"`
	Upstream string   `json:"upstream,omitempty"`
	Method   string   `json:"method,omitempty"`
	Name     string   `json:"name,omitempty"`
	Stage    string   `json:"stage"`
	Outcome  string   `json:"outcome"`
	Reason   string   `json:"reason,omitempty"`
	Guard    string   `json:"guard,omitempty"`
	Rule     string   `json:"rule,omitempty"` // guard rule, or row of the policy with its line
	Policy   string   `json:"policy_rev,omitempty"`
	Object   string   `json:"object,omitempty"`
	Action   string   `json:"action,omitempty"`
	Roles    []string `json:"roles"`
	Scopes   []string `json:"scopes"`
	Needed   []string `json:"scopes_needed"`
	Findings []string `json:"findings,omitempty"`
	Would    []string `json:"would_have,omitempty"`
	Excepted []string `json:"excepted,omitempty"`
	Text     string   `json:"text,omitempty"` // what the client reads
	Remedies []remedy `json:"would_allow,omitempty"`
}

func newDecided(e audit.Event) decided {
	return decided{
		Subject: e.Subject, Upstream: e.Upstream, Method: e.Method, Name: e.Name, Stage: e.Stage, Outcome: e.Outcome, Reason: e.Reason,
		Guard: e.Guard, Rule: e.Rule, Policy: e.Policy, Object: e.Object, Action: e.Action, Roles: some(e.Roles), Scopes: some(e.Scopes),
		Needed: some(e.Needed), Findings: e.Findings, Would: e.Would, Excepted: e.Excepted,
	}
}

// some keeps lists from becoming null.
func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func newVerdict(v sidecar.Verdict, cfg *config.Config, j *sidecar.Judge) verdict {
	out := verdict{Version: 1, Verdict: "allow", decided: newDecided(v.Record), NotJudged: v.Open}
	out.Text = v.Text
	if !v.Allowed {
		out.Verdict = "deny"
		out.Remedies = remedies(v.Record, cfg, j.Policy())
	}
	return out
}

func showVerdict(v verdict, asJSON bool, io Streams) error {
	if asJSON {
		return writeJSON(io.Out, v)
	}
	var p page
	p.line("%s  %s for %s", map[string]string{"allow": "ALLOWED", "deny": "DENIED"}[v.Verdict], v.tool(), v.Subject)
	v.describe(&p)
	p.list("not judged", v.NotJudged)
	return p.to(io.Out)
}

// tool is what the call was about, as the catalog names it.
func (d decided) tool() string {
	return d.Upstream + "/" + strings.TrimPrefix(d.Name, d.Upstream+"/")
}

// describe says everything about a decision.
func (d decided) describe(p *page) {
	if d.Stage != "execute" {
		p.field("stage", d.Stage)
	}
	p.field("outcome", d.Outcome)
	p.field("reason", d.Reason)
	p.field("guard", d.Guard)
	p.field("rule", d.Rule)
	if d.Object != "" {
		p.field("asks for", d.Action+" "+d.Object)
	}
	p.field("roles", orNone(d.Roles))
	p.field("scopes held", orNone(d.Scopes))
	p.field("scopes needed", orNone(d.Needed))
	p.field("policy", d.Policy)
	p.list("findings", d.Findings)
	p.list("would have", d.Would)
	p.list("excepted", d.Excepted)
	p.field("client reads", d.Text)
	for i, r := range d.Remedies {
		name := "would allow"
		if i > 0 {
			name = ""
		}
		p.field(name, r.Change)
		if r.Weakens {
			p.field("", "  WEAKENS: "+r.Grants)
		} else {
			p.field("", "  grants: "+r.Grants)
		}
	}
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, " ")
}
