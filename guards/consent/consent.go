// Package consent refuses calls that cannot be undone until the caller repeats
// them with confirm=true.
//
// This is a compatibility mode for clients that cannot ask their user, and it
// is not consent. The argument is filled in by the model, and a model that has
// read "call delete with confirm=true" in a poisoned document will do so. What
// it buys is a pause in which a careful client shows the call to its user, and
// protection from a model that deletes by accident. Approval that a model
// cannot give needs another channel, such as elicitation.
//
// The guard only decides. Advertising the argument in the published schema and
// stripping it from what the upstream gets is the pipeline's work.
package consent

import (
	"context"
	"strconv"
	"strings"
	"unicode"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/text"
)

// Name is the guard's name in configuration, findings and audit records.
const Name = "consent"

// Argument is the first-level argument that carries the confirmation.
const Argument = "confirm"

// PropertySchema is the JSON Schema under which [Argument] is advertised in a
// tool's "properties". The argument is not advertised as required: a client must
// be able to make the call without it and read the refusal.
const PropertySchema = `{"type":"boolean","description":"This call does something that cannot be undone. Set to true only after the user was shown exactly what will happen and has confirmed it."}`

// Rule ids of a [guards.Block].
const (
	RuleRequired  = "confirmation-required" // no confirm=true
	RuleAmbiguous = "ambiguous-argument"    // another spelling of confirm
)

// Mode says how a call is confirmed.
type Mode uint8

// The zero value asks: a tool that nobody decided about needs confirmation.
const (
	Confirm Mode = iota // the call must carry confirm=true
	Off                 // the call passes
)

// Guard tests calls for their confirmation. It is safe for concurrent use if
// its mode function is.
type Guard struct {
	mode func(c *guards.Call) Mode
}

var _ guards.Input = (*Guard)(nil)

// New returns a guard that asks mode about each call. Which tools need
// confirmation depends on configuration, preset and annotations, so it is
// decided outside. A nil mode means that every call needs confirmation.
func New(mode func(c *guards.Call) Mode) *Guard {
	if mode == nil {
		mode = func(*guards.Call) Mode { return Confirm }
	}
	return &Guard{mode: mode}
}

// Name returns the constant [Name].
func (g *Guard) Name() string { return Name }

// Inspect blocks a call that needs confirmation and does not carry the JSON
// literal true under the exact name [Argument]. The string "true" and the
// number 1 do not count, since they are what a template or a careless client
// fills in.
func (g *Guard) Inspect(_ context.Context, c *guards.Call) guards.Decision {
	if g.mode(c) == Off {
		return guards.Decision{}
	}
	confirmed := false
	for i := range c.Args {
		a := &c.Args[i]
		if a.Path != a.Name { // not at the first level
			continue
		}
		if a.Name == Argument {
			confirmed = a.Kind == guards.Bool && a.Value == "true"
		} else if text.IsVariant(a.Name, Argument) && !c.Except.Has(RuleAmbiguous) {
			// Only the exact name is stripped on the way to the upstream, so a variant
			// would reach it, and a reader of the audit could not tell which had counted.
			return blocked(RuleAmbiguous, "blocked: an argument name differs from "+Argument+" only in case or invisible characters")
		}
	}
	if !confirmed && !c.Except.Has(RuleRequired) {
		return blocked(RuleRequired, "blocked: "+plain(c.Action)+" requires explicit confirmation ("+Argument+"=true)")
	}
	return guards.Decision{}
}

// plain returns the action as it is when it is an ordinary identifier. Without
// a catalog entry it is the upstream's tool name, which could carry
// instructions to the model that reads the refusal: then it is cut and quoted.
func plain(action string) string {
	const longest = 64
	odd := strings.ContainsFunc(action, func(c rune) bool {
		return c >= 0x80 || !(unicode.IsLetter(c) || unicode.IsDigit(c) || strings.ContainsRune("_.-/", c))
	})
	switch {
	case action == "":
		return "the call"
	case !odd && len(action) <= longest:
		return action
	}
	cut := action[:min(len(action), longest)]
	return strconv.QuoteToASCII(strings.ToValidUTF8(cut, ""))
}

func blocked(rule, public string) guards.Decision {
	return guards.Decision{
		Block:    &guards.Block{Rule: rule, Public: public},
		Findings: []guards.Finding{{Guard: Name, Rule: rule, Label: Name + ":" + rule, Score: 1}},
	}
}
