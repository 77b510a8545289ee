// Package command guards arguments that an upstream may place on a command
// line. At best such an argument is bound to a closed list: what the client wrote is
// tested for shell metacharacters, then for a leading dash, then looked up, and
// what travels on is the constant that the operator wrote, never the client's
// own bytes.
//
// The list alone would refuse every attack. The metacharacter test runs first
// so that an injection (CWE-78) is named as one in the answer and in the audit,
// and so that a list entry written by mistake cannot let a metacharacter
// through.
//
// A metacharacter test on prose is wrong one time in nine, so free text is read
// (see [Examine]), and only where the configuration says that it reaches a command
// line.
package command

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/text"
)

// Name is the guard's name in configuration, findings and audit records.
const Name = "command"

// Rule ids of a [guards.Block].
const (
	RuleMetacharacter = "metacharacter"      // the value holds a shell metacharacter
	RuleLeadingDash   = "leading-dash"       // the value would be read as an option
	RuleNotInList     = "not-in-list"        // the value is not in the rule's list
	RuleWrongType     = "wrong-type"         // the argument is not a JSON string
	RuleAmbiguous     = "ambiguous-argument" // another spelling of a bound argument's name
)

// Rule says what a bound argument may hold.
type Rule struct {
	// Enum maps what a client may write to the constant that the upstream
	// gets. An empty map admits nothing. A key that holds a metacharacter or
	// starts with a dash can never be chosen.
	Enum map[string]string
	// Free means that there is no list: the value is free text, and refused where
	// [Examine] finds that it would do something, or where a dash makes it an option.
	Free bool
	// Except are rules that refuse nothing. Nil is none.
	Except guards.Except
}

// Guard tests bound arguments. It is immutable and safe for concurrent use.
type Guard struct {
	bindings map[string]map[string]Rule
}

var _ guards.Input = (*Guard)(nil)

// New returns a guard for the given bindings: tool ("docs/render_document") to
// first-level argument name to rule. The maps must not change afterwards.
func New(bindings map[string]map[string]Rule) *Guard {
	return &Guard{bindings: bindings}
}

// Name returns the constant [Name].
func (g *Guard) Name() string { return Name }

// Inspect blocks c when a bound argument does not fit its rule, and otherwise
// replaces each bound value that is not yet the constant of its list. A bound
// argument that is absent passes: whether it is required, and what its default
// is, the upstream knows.
func (g *Guard) Inspect(_ context.Context, c *guards.Call) guards.Decision {
	bound := g.bindings[c.Tool]
	if len(bound) == 0 {
		return guards.Decision{}
	}
	var d guards.Decision
	for i := range c.Args {
		a := &c.Args[i]
		if a.Path != a.Name { // not at the first level
			continue
		}
		canonical, b := judge(a, bound, c.Except)
		if b != nil {
			return blocked(a, b)
		}
		if canonical != a.Value {
			d.Edits = append(d.Edits, guards.Edit{Name: a.Name, Value: canonical})
		}
	}
	return d
}

// judge returns what the first-level argument a may hold.
func judge(a *guards.Arg, bound map[string]Rule, except guards.Except) (canonical string, b *guards.Block) {
	r, ok := bound[a.Name]
	if !ok {
		if b = variantOf(a.Name, bound); b != nil && except.Has(b.Rule) {
			b = nil
		}
		return a.Value, b
	}
	r.Except = except
	if a.Kind != guards.String {
		if except.Has(RuleWrongType) {
			return a.Value, nil
		}
		return "", refuse(RuleWrongType, a.Name+" must be a string")
	}
	return Check(a.Name, a.Value, r)
}

// Check tests one value against r and returns the constant that it stands for.
// The argument's name appears in the block's text, the value never does, except
// for the one metacharacter that is named.
func Check(name, value string, r Rule) (canonical string, b *guards.Block) {
	if r.Free {
		return value, checkFree(name, value, r.Except)
	}
	if c, found := firstMeta(value); found && !r.Except.Has(RuleMetacharacter) {
		return "", refuse(RuleMetacharacter, name+" contains forbidden shell metacharacter "+show(c))
	}
	if startsWithDash(value) && !r.Except.Has(RuleLeadingDash) {
		return "", refuse(RuleLeadingDash, name+" must not start with a dash")
	}
	canonical, ok := r.Enum[value]
	if !ok && r.Except.Has(RuleNotInList) {
		return value, nil
	}
	if !ok {
		return "", refuse(RuleNotInList, name+" is not one of "+list(r.Enum))
	}
	return canonical, nil
}

func checkFree(name, value string, except guards.Except) *guards.Block {
	for _, f := range Examine(value) {
		if !except.Has(f.Rule) {
			return refuse(f.Rule, name+" would do more than be an argument ("+f.Rule+")")
		}
	}
	if startsWithDash(strings.TrimLeft(value, " \t")) && !except.Has(RuleLeadingDash) {
		return refuse(RuleLeadingDash, name+" must not start with a dash")
	}
	return nil
}

// startsWithDash reports whether a program could take value for an option.
// Typographic dashes count: some command lines (PowerShell, office tools) fold
// them to '-'.
func startsWithDash(value string) bool {
	c, _ := utf8.DecodeRuneInString(value)
	return unicode.Is(unicode.Pd, c) || c == '\u2212' // minus sign
}

func list(enum map[string]string) string {
	if len(enum) == 0 {
		return "(the list is empty)"
	}
	return strings.Join(slices.Sorted(maps.Keys(enum)), ", ")
}

// variantOf blocks a name that is not bound but that a lenient decoder upstream
// would take for one that is. Such an argument would carry an untested value.
func variantOf(name string, bound map[string]Rule) *guards.Block {
	for want := range bound {
		if text.IsVariant(name, want) {
			return refuse(RuleAmbiguous, "an argument name differs from "+want+" only in case or invisible characters")
		}
	}
	return nil
}

func refuse(rule, reason string) *guards.Block {
	return &guards.Block{Rule: rule, Public: "blocked by command-injection guard: " + reason}
}

func blocked(a *guards.Arg, b *guards.Block) guards.Decision {
	return guards.Decision{
		Block: b,
		Findings: []guards.Finding{{
			Guard: Name, Rule: b.Rule, Label: Name + ":" + b.Rule, End: len(a.Value), Score: 1,
		}},
	}
}
