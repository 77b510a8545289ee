package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/sidecar"
)

type explainFlags struct {
	file, audit string
	json        bool
}

func explainCommand(io Streams) *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain -c FILE AUDIT_ID",
		Short: "Say why a call ended as it did, from its audit record",
		Long: `explain finds the record that a refusal names as its audit id, in the audit file
of FILE and in those that it was rotated into, and prints what decided: stage and
rule with its line in the policy, roles and scopes held and needed, and what would
allow the call. Every such change says what else it grants, and WEAKENS marks those
that switch off a protection. Nothing is changed.

The policy may have changed since: then explain says so, and decides the same
question by the present one.`,
		Example: `  mcp-sidecar explain -c sidecar.yaml 01976b2e-5a4c-7d6e-9f10-2b3c4d5e6f70
  mcp-sidecar explain -c sidecar.yaml --audit /backup/audit.jsonl.20270101 01976b2e-5a4c-7d6e-9f10-2b3c4d5e6f70 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return explain(args[0], f, io) },
	}
	configFlag(c, &f.file)
	jsonFlag(c, &f.json)
	c.Flags().StringVar(&f.audit, "audit", "", "audit `FILE` (default: the configuration's)")
	return c
}

func explain(id string, f explainFlags, io Streams) error {
	cfg, err := offlineConfig(f.file)
	if err != nil {
		return err
	}
	parsed, err := uuid.Parse(id)
	if err != nil || len(id) != len(parsed.String()) {
		return exit(ExitFailure, fmt.Errorf("%q is no audit id; a refusal names one, such as 01976b2e-5a4c-7d6e-9f10-2b3c4d5e6f70", visible(id)))
	}
	if f.audit == "" {
		if f.audit, err = auditFile(cfg); err != nil {
			return err
		}
	}
	found, err := audit.Find(f.audit, parsed.String())
	if errors.Is(err, audit.ErrNotFound) {
		err = fmt.Errorf("%w: %s in %s and what it was rotated into; compressed files have to be unpacked", err, parsed, visible(f.audit))
	}
	if err != nil {
		return exit(ExitFailure, err)
	}
	j, err := newJudge(cfg, sidecar.JudgeOptions{})
	if err != nil {
		return err
	}
	defer j.Close()
	x := newExplanation(found, cfg, j.Policy())
	if f.json {
		return writeJSON(io.Out, x)
	}
	return x.show(io)
}

// explanation is what explain prints.
type explanation struct {
	Version   int       `json:"version"`
	ID        string    `json:"audit_id"`
	File      string    `json:"file"`
	Time      time.Time `json:"ts"`
	Transport string    `json:"transport,omitempty"`
	Client    string    `json:"client_id,omitempty"`
	Parent    string    `json:"parent_id,omitempty"`
	Code      int       `json:"code,omitempty"`
	Error     string    `json:"error,omitempty"`
	decided
	// Unfinished: a destructive call of which only the intent was written.
	Unfinished bool `json:"unfinished"`
	Below      int  `json:"messages_below"`
	// Present is the answer of the present policy, where it is another one.
	Present *present `json:"present_policy,omitempty"`
}

type present struct {
	Revision string `json:"policy_rev"`
	Verdict  string `json:"verdict"` // of the role alone: allow, deny, or unknown
	Rule     string `json:"rule,omitempty"`
}

func auditFile(cfg *config.Config) (string, error) {
	file, err := cfg.AuditFile(os.LookupEnv)
	if err != nil {
		return "", exit(ExitConfig, err)
	}
	return file, nil
}

func newExplanation(f audit.Found, cfg *config.Config, engine *policy.Engine) explanation {
	e := f.Outcome
	if e == nil {
		e = f.Intent
	}
	x := explanation{
		Version: 1, ID: e.ID, File: f.File, Time: e.Time, Transport: e.Transport, Client: e.ClientID, Parent: e.Parent, Code: e.Code, Error: e.Error,
		decided: newDecided(*e), Unfinished: f.Outcome == nil, Below: f.Below,
	}
	now := *e
	if e.Policy != engine.Revision() && e.Policy != "" {
		x.Present = newPresent(*e, engine)
		if isRoleRefusal(now) {
			now.Rule = x.Present.Rule // what stands in its way today
		}
	}
	if x.Outcome != "allowed" && x.Outcome != "" && !(isRoleRefusal(now) && x.Present != nil && x.Present.Verdict == "allow") {
		x.Remedies = remedies(now, cfg, engine)
	}
	return x
}

// newPresent asks the present policy. The record does not tell roles that the token gave
// from those of the policy then, which may have been taken away since: where they make
// the difference the answer is not known.
func newPresent(e audit.Event, engine *policy.Engine) *present {
	now := &present{Revision: engine.Revision(), Verdict: "unknown"}
	asked := policy.Permission{Object: e.Object, Action: e.Action}
	d := engine.Decide("user:"+e.Subject, asked)
	if !nameable(e.Object) || d.Allowed != engine.Decide("user:"+e.Subject, asked, e.Roles...).Allowed {
		return now
	}
	now.Rule, now.Verdict = d.Rule, "deny"
	if d.Allowed {
		now.Verdict = "allow"
	}
	return now
}

// isRoleRefusal says whether the policy refused e.
func isRoleRefusal(e audit.Event) bool {
	return e.Reason == "role" || e.Reason == "unknown-tool" && e.Stage == "authorize"
}

func (x explanation) show(io Streams) error {
	var p page
	head := x.Outcome
	if x.Unfinished {
		head = "not finished"
	}
	p.line("%s  %s %s by %s", head, x.Method, x.Name, x.Subject)
	p.field("at", x.Time.Format(time.RFC3339Nano))
	p.field("audit id", x.ID)
	p.field("in", x.File)
	p.field("upstream", x.Upstream)
	p.field("client", x.Client)
	p.field("part of", x.Parent)
	x.describe(&p)
	p.field("cause", x.Error)
	if x.Unfinished {
		p.field("note", "only the intent is there: the call is still running, or the sidecar ended in it; what the server did is not known")
	}
	if x.Below > 0 {
		p.field("below", fmt.Sprintf("%d messages that the server started in this call", x.Below))
	}
	if now := x.Present; now != nil {
		p.field("note", "the policy has changed since: lines are those of revision "+x.Policy+", the present one is "+now.Revision)
		p.field("role today", now.Verdict)
		p.field("rule today", now.Rule)
	}
	return p.to(io.Out)
}
