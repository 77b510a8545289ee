// Package argument holds single arguments of a tool to what the operator allows: a
// pattern, a beginning, a host of a list, a range of numbers, a length. It is how a
// policy says "may read, but only below /reports/".
//
// A rule is about one argument of the first level with one value. Whatever has another
// type than the rule wants is refused, lists and null included: what a server makes of
// them is not known here.
package argument

import (
	"context"
	"fmt"
	"maps"
	"math/big"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/text"
)

// Name is the guard's name in configuration, findings and audit records.
const Name = "argument"

// Rule ids of a [guards.Block].
const (
	RuleRequired  = "required"           // the argument is absent
	RuleWrongType = "wrong-type"         // the argument has another JSON type
	RulePattern   = "pattern"            // the value does not match
	RulePrefix    = "prefix"             // the value begins otherwise, or leaves where it begins
	RuleHost      = "host"               // the value is no host of the list
	RuleRange     = "range"              // the number is too small or too large
	RuleLength    = "length"             // the value is too long
	RuleAmbiguous = "ambiguous-argument" // another spelling of a bound argument's name
)

// Rule says what one argument may hold. All that is set must hold.
type Rule struct {
	Pattern  *regexp.Regexp // the whole value must match; see [Pattern]
	Prefixes []string       // the value must begin with one of them, and stay below it
	Hosts    []string       // the value must be one of these host names; *.example.com is every name below
	Min, Max *big.Rat       // the value must be a number from Min to Max
	Length   int            // the value has at most so many characters; 0 does not bound them
	Required bool           // the argument must be there
	Except   guards.Except  // rules that refuse nothing; nil is none
}

// Pattern compiles an expression (RE2 syntax) that a whole value has to match.
func Pattern(expression string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(expression); err != nil {
		return nil, err // before anything is added: "a)(b" must not become an expression
	}
	return regexp.Compile(`\A(?:` + expression + `)\z`)
}

// MustPattern is [Pattern] for expressions that were checked before.
func MustPattern(expression string) *regexp.Regexp {
	p, err := Pattern(expression)
	if err != nil {
		panic(err)
	}
	return p
}

// number says whether the rule is about a number.
func (r Rule) number() bool { return r.Min != nil || r.Max != nil }

// text says whether the rule is about a text.
func (r Rule) text() bool {
	return r.Pattern != nil || r.Prefixes != nil || r.Hosts != nil || r.Length > 0
}

// Guard holds arguments to their rules. It is immutable and safe for concurrent use.
type Guard struct {
	rules map[string]map[string]Rule
}

var _ guards.Input = (*Guard)(nil)

// New returns a guard for the rules by tool ("docs/read_file") and argument. The maps
// must not change afterwards.
func New(rules map[string]map[string]Rule) *Guard { return &Guard{rules: rules} }

// Name returns the constant [Name].
func (g *Guard) Name() string { return Name }

// Inspect blocks c when an argument does not fit its rule. It changes nothing.
func (g *Guard) Inspect(_ context.Context, c *guards.Call) guards.Decision {
	rules := g.rules[c.Tool]
	if len(rules) == 0 {
		return guards.Decision{}
	}
	there := 0
	for i := range c.Args {
		a := &c.Args[i]
		if a.Path != a.Name { // not at the first level
			continue
		}
		r, bound := rules[a.Name]
		if !bound {
			if want, is := variantOf(a.Name, rules); is && !c.Except.Has(RuleAmbiguous) {
				return blocked(RuleAmbiguous, "an argument name differs from "+want+" only in case or invisible characters")
			}
			continue
		}
		there++
		r.Except = c.Except
		if rule, why := r.Check(a.Kind, a.Value); rule != "" {
			return blocked(rule, a.Name+" "+why)
		}
	}
	if there < len(rules) {
		return required(rules, c)
	}
	return guards.Decision{}
}

// required blocks c when an argument is absent that must be there.
func required(rules map[string]Rule, c *guards.Call) guards.Decision {
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		is := func(a guards.Arg) bool { return a.Path == name && a.Name == name }
		if rules[name].Required && !slices.ContainsFunc(c.Args, is) && !c.Except.Has(RuleRequired) {
			return blocked(RuleRequired, name+" must be given")
		}
	}
	return guards.Decision{}
}

func variantOf(name string, rules map[string]Rule) (want string, is bool) {
	for want := range rules {
		if text.IsVariant(name, want) {
			return want, true
		}
	}
	return "", false
}

// blocked names argument and rule, never the value.
func blocked(rule, why string) guards.Decision {
	return guards.Decision{Block: &guards.Block{Rule: rule, Public: "blocked by argument rule: " + why}}
}

// Check holds one value to r. It returns the rule that is broken and what would hold,
// or nothing.
func (r Rule) Check(kind guards.ArgKind, value string) (rule, why string) {
	if r.number() {
		return r.checkNumber(kind, value)
	}
	if !r.text() {
		if r.Required && kind == guards.Null && !r.Except.Has(RuleRequired) { // absent to many servers
			return RuleRequired, "must be given"
		}
		return "", ""
	}
	if kind != guards.String {
		if r.Except.Has(RuleWrongType) {
			return "", ""
		}
		return RuleWrongType, "must be a string"
	}
	switch {
	case r.Length > 0 && utf8.RuneCountInString(value) > r.Length && !r.Except.Has(RuleLength):
		return RuleLength, fmt.Sprintf("must have at most %d characters", r.Length)
	case r.Pattern != nil && !r.Pattern.MatchString(value) && !r.Except.Has(RulePattern):
		return RulePattern, "does not match the pattern that the operator has set"
	case r.Prefixes != nil && !slices.ContainsFunc(r.Prefixes, func(p string) bool { return below(value, p) }) && !r.Except.Has(RulePrefix):
		return RulePrefix, "must begin with " + strings.Join(r.Prefixes, " or ") + ", and stay there"
	case r.Hosts != nil && !slices.ContainsFunc(r.Hosts, func(h string) bool { return isHost(value, h) }) && !r.Except.Has(RuleHost):
		return RuleHost, "must be one of the hosts " + strings.Join(r.Hosts, ", ")
	}
	return "", ""
}

func (r Rule) checkNumber(kind guards.ArgKind, literal string) (rule, why string) {
	n, ok := Number(literal)
	if kind != guards.Number {
		if r.Except.Has(RuleWrongType) {
			return "", ""
		}
		return RuleWrongType, "must be a number"
	}
	if why = r.outside(n, ok); why != "" && !r.Except.Has(RuleRange) {
		return RuleRange, why
	}
	return "", ""
}

// outside says what would hold for a number that does not.
func (r Rule) outside(n *big.Rat, ok bool) string {
	switch {
	case !ok:
		return "is a number that cannot be compared"
	case r.Min != nil && n.Cmp(r.Min) < 0:
		return "must be at least " + shown(r.Min)
	case r.Max != nil && n.Cmp(r.Max) > 0:
		return "must be at most " + shown(r.Max)
	}
	return ""
}

// Bounds of a number that is compared exactly.
const (
	maxDigits   = 64
	maxExponent = 64
)

// Number reads a JSON number without rounding it. What would take much room to write
// out is not read.
func Number(literal string) (*big.Rat, bool) {
	if literal == "" || len(literal) > maxDigits {
		return nil, false
	}
	if i := strings.IndexAny(literal, "eE"); i >= 0 {
		if e, err := strconv.Atoi(literal[i+1:]); err != nil || e > maxExponent || e < -maxExponent {
			return nil, false
		}
	}
	if strings.Trim(literal, "+-.0123456789eE") != "" {
		return nil, false // such as 1/2 and 0x1, which big.Rat takes
	}
	return new(big.Rat).SetString(literal)
}

func shown(n *big.Rat) string {
	if n.IsInt() {
		return n.Num().String()
	}
	text := n.FloatString(9)
	return strings.TrimRight(text, "0")
}

// below says whether value begins with prefix and cannot be read as something outside
// of it: as a path or URL with a step upwards, in whatever spelling. A server may decode
// once more, fold characters that look alike, or take a backslash for a slash.
func below(value, prefix string) bool {
	rest, ok := strings.CutPrefix(value, prefix)
	if !ok || strings.HasSuffix(prefix, "/") && strings.HasPrefix(rest, "/") { // "/etc" to who joins it to the prefix
		return false
	}
	decoded, err := url.PathUnescape(rest)
	if err != nil || hasEscapedStep(rest) { // some decode %u002e, too
		return false
	}
	// The part of a segment that the prefix begins counts, too: with "/a/." the rest
	// "./b" is a step upwards.
	begun := prefix[strings.LastIndexByte(prefix, '/')+1:]
	return stays(begun, rest) && stays(begun, decoded)
}

// hasEscapedStep says whether an escape hides what leads upwards: a dot, a slash, a
// backslash, another percent sign or the end of a string. Every percent sign of s must
// begin an escape.
func hasEscapedStep(s string) bool {
	for _, after := range strings.Split(s, "%")[1:] {
		switch strings.ToLower(after[:2]) {
		case "2e", "2f", "5c", "25", "00":
			return true
		}
	}
	return false
}

// stays says whether rest, behind the segment that is begun, has no step upwards as it
// stands.
func stays(begun, rest string) bool {
	folded := norm.NFKC.String(rest)
	switch {
	case !utf8.ValidString(rest): // %c0%ae is a dot to careless decoders
		return false
	case strings.ContainsAny(folded, "\x00\\\u2044\u2215\u29f5\u29f8"): // slashes to some file systems
		return false
	case folded != rest && strings.ContainsAny(folded, "./%:"):
		return false
	case strings.ContainsFunc(rest, hides):
		return false
	}
	for segment := range strings.SplitSeq(begun+rest, "/") {
		// Parameters, query and fragment end a segment (RFC 3986 section 3) before dots
		// are resolved; blanks and dots behind it are dropped by Windows.
		if i := strings.IndexAny(segment, ";?#"); i >= 0 {
			segment = segment[:i]
		}
		if segment == "." || segment == ".." || strings.Contains(segment, " ") && strings.Trim(segment, " .") == "" {
			return false
		}
	}
	return true
}

func hides(c rune) bool { return c < ' ' || c == 0x7f || c != ' ' && text.Invisible(c) }

// isHost says whether value is the host, or below *.domain, written as a plain name.
func isHost(value, host string) bool {
	name, err := idna.Lookup.ToASCII(value)
	if err != nil || !strings.EqualFold(name, value) { // a spelling that is taken for another
		return false
	}
	name = strings.ToLower(name)
	if domain, ok := strings.CutPrefix(host, "*."); ok {
		label, ok := strings.CutSuffix(name, "."+domain)
		return ok && label != ""
	}
	return name == host
}
