package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// reloadBound is how long a change of the policy may take until every sidecar goes by
// it.
const reloadBound = 5 * time.Second

// reload takes a role away while two sidecars run, as an operator would: with
// "policy apply", in the file or the database that both go by. The naive server has
// nothing that could be taken away.
func reload() scenario {
	const text = "alice's notes"
	read := func(label string) trial {
		return trial{
			label: label, document: text, own: true, overHTTP: true,
			user: "carol", tool: "read_document", args: args{"id": idArgument},
			direct:  answer{allowed, readHeader + text},
			proxied: answer{allowed, readHeader + wrapped(text, nothingFound)},
		}
	}
	revoked := read("carol, after it was taken away  ->")
	revoked.harmful, revoked.arrange = true, underPolicy(withoutCarol(), rejected)
	revoked.proxied = answer{rejected, `denied: user "carol" has no role`}
	revoked.effects = []effect{returned("yes", "no"), reached("yes", "no"), inForce("no", "yes")}

	again := read("carol, after she has it again   ->")
	again.arrange = underPolicy(examplePolicy, allowed)
	again.effects = []effect{inForce("no", "yes")}

	before := read("carol, who may read             ->")
	before.effects = []effect{returned("yes", "yes")}

	return scenario{
		name:   "reload",
		title:  "A role is taken away (while two sidecars run)",
		trials: []trial{before, revoked, again},
	}
}

// withoutCarol is the demo's policy without the row that gives carol a role.
func withoutCarol() string {
	return strings.Replace(examplePolicy, "g, user:carol, role:viewer\n", "", 1)
}

// operator changes the policy of sidecars that run.
type operator struct {
	apply func(ctx context.Context, rows string) error
	also  *client // carol's, at the second sidecar
}

// underPolicy has the operator apply rows, and waits until carol's calls end as wanted at both
// sidecars.
func underPolicy(rows string, wanted outcome) func(context.Context, *column, *event) error {
	return func(ctx context.Context, c *column, e *event) error {
		if c.operator == nil {
			return nil // a server that asks nobody
		}
		if err := c.operator.apply(ctx, rows); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, reloadBound)
		defer cancel()
		for _, at := range []*client{c.users["carol"], c.operator.also} {
			for at.call(ctx, "", e.trial.tool, args{"id": e.id}).Outcome != wanted {
				select {
				case <-ctx.Done():
					return nil // and e says so
				case <-time.After(20 * time.Millisecond):
				}
			}
		}
		e.inForce = true
		return nil
	}
}

// inForce is whether both sidecars went by the change in time.
func inForce(direct, proxied string) effect {
	return effect{"in force at both within 5 s", direct, proxied, func(_ context.Context, _ *column, e event) string {
		if e.inForce {
			return "yes"
		}
		return "no"
	}}
}

// startSecond starts another sidecar that goes by the same policy, and lets the operator
// change it.
func (l *lab) startSecond(ctx context.Context) error {
	if !l.owns() || !l.options.needs(func(t trial) bool { return t.arrange != nil }) {
		return nil
	}
	proxied := l.overHTTP.proxied
	if err := l.folder.config(secondConfig, anyPort, l.issuerURL, l.policyAt(atURL(proxied.recorder.(*recorder).url), replacement{exampleAudit, "file: " + auditOf("second")}, replacement{exampleState, exampleState + "-second"})...); err != nil {
		return err
	}
	p, err := l.start(ctx, "mcp-sidecar-second", "mcp-sidecar", "serve", "-c", l.folder.path(secondConfig))
	if err != nil {
		return err
	}
	l.audits = append(l.audits, tape(l.folder.path(auditOf("second"))))
	carol, err := connect(ctx, p.url, l.options.revision, l.tokens["carol"])
	if err != nil {
		return fmt.Errorf("the second sidecar: %w\n%s", err, l.tails())
	}
	l.closers = append(l.closers, carol.close)
	proxied.operator = &operator{apply: l.applyPolicy, also: carol}
	return nil
}

// operatorConfig is all that "policy apply" needs to know.
const operatorConfig = "version: 1\nupstreams: { docs: { url: " + exampleUpstream + " } }\n" + examplePolicyAt

// applyPolicy puts rows in the place of the policy that all sidecars of the demo go by.
func (l *lab) applyPolicy(ctx context.Context, rows string) error {
	config := operatorConfig
	for _, r := range l.policyAt() {
		config = strings.ReplaceAll(config, r.from, r.to)
	}
	if err := errors.Join(l.folder.write(operatorFile, []byte(config)), l.folder.write(rowsFile, []byte(rows))); err != nil {
		return err
	}
	path, err := l.program("mcp-sidecar")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "policy", "apply", "-c", l.folder.path(operatorFile), l.folder.path(rowsFile))
	cmd.Env = append(childEnvironment(), l.postgres.ownerEnvironment()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("policy apply: %w\n%s", err, out)
	}
	return nil
}

// policyAt says where a sidecar finds its policy: in the database, if there is one.
func (l *lab) policyAt(more ...replacement) []replacement {
	if l.postgres == nil {
		return more
	}
	return append(more, replacement{examplePolicyAt, "policy:\n  database: {}\n"})
}
