package secrets

import (
	"context"

	"mcp-sidecar/guards"
)

// InputName is the name of [InputGuard].
const InputName = "input_secrets"

// InputGuard looks for secrets in what a client sends: a model that has read one may pass it
// on to a server that has no business with it.
type InputGuard struct{}

var _ guards.Input = InputGuard{}

// Name implements [guards.Input].
func (InputGuard) Name() string { return InputName }

// Inspect implements [guards.Input]. Names of arguments count like values: a client chooses
// both. A value is read together with its name, as in answers.
func (InputGuard) Inspect(_ context.Context, c *guards.Call) (d guards.Decision) {
	last := ""
	for i := range c.Args {
		a := &c.Args[i]
		var found []guards.Finding
		if a.Name != last { // elements of a list all have the list's
			last = a.Name
			found = find(a.Name, nil, c.Except)
		}
		if len(found) == 0 && a.Kind == guards.String {
			found = Guard{}.Find(guards.Text{Value: a.Value, Member: a.Name, Except: c.Except})
		}
		for _, f := range found {
			f.Guard, f.Label = InputName, InputName+":"+f.Rule
			d.Findings = append(d.Findings, f)
		}
	}
	if len(d.Findings) > 0 {
		rule := d.Findings[0].Rule
		d.Block = &guards.Block{Rule: rule, Public: "blocked: the arguments hold a secret (" + rule + "); leave it out, the server has its own credentials"}
	}
	return d
}
