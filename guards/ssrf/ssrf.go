// Package ssrf guards arguments that an upstream may fetch as a URL (CWE-918).
// Only https URLs to public hosts pass: no reserved or internal address in any
// spelling, no internal name, no user information, no unexpected port.
//
// The order of judgement is fixed. A literal address comes first, whatever the
// scheme, so that the answer names the real danger; then scheme, user
// information, port, the form of the host, internal names, the host allow-list;
// the DNS is asked last, when nothing else is left to object to. Every answer
// must be public, and no answer is a refusal.
//
// [Examine] is the part without DNS, [Check] the whole, [Guard] applies it to
// the arguments of a call. A check of an argument cannot bind the connection
// that the upstream makes later (DNS rebinding, redirects): [Dialer] does, for
// whoever connects through it.
package ssrf

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/text"
)

// Name is the guard's name in configuration, findings and audit records.
const Name = "ssrf"

// Rule ids of a [guards.Block].
const (
	RuleReserved   = "reserved-address"   // literal or resolved address that is not public
	RuleScheme     = "scheme"             // anything but https
	RuleUserinfo   = "userinfo"           // user:password@ in front of the host
	RulePort       = "port"               // port that the rule does not allow
	RuleHostForm   = "host-form"          // host that two parsers could read differently
	RuleInternal   = "internal-name"      // localhost, *.internal, single labels …
	RuleNotAllowed = "host-not-allowed"   // host outside the rule's allow-list
	RuleUnresolved = "unresolvable"       // no answer from the DNS
	RuleNotURL     = "not-a-url"          // not an absolute URL
	RuleWrongType  = "wrong-type"         // bound argument that is no string and no array of strings
	RuleAmbiguous  = "ambiguous-argument" // another spelling of a bound argument's name
	RuleOwn        = "own-address"        // a listener of the sidecar itself, by a public address
	RuleRedirect   = "redirect"           // an answer that leads to a reserved address
	RuleBudget     = "guard-budget"       // more distinct hosts than one call may have looked up
)

// maxLookups bounds the distinct host names of one call, so that a call with a
// thousand URLs cannot turn the sidecar into a DNS flood.
const maxLookups = 32

// Rule says which URLs a bound argument may hold.
type Rule struct {
	// Hosts are the allowed host names, in any case; "*.example.com" allows
	// every name below example.com. Empty allows every public host.
	Hosts []string
	// Ports are the allowed ports. Empty allows 443.
	Ports []int
	// Except are rules that refuse nothing. Nil is none.
	Except guards.Except
}

// Guard tests the URLs in a call's arguments. It is safe for concurrent use if
// its resolver is.
type Guard struct {
	resolver Resolver
	tools    map[string]map[string]Rule
}

var _ guards.Input = (*Guard)(nil)

// New returns a guard that resolves names with r. The outer key of tools is a
// tool that has a configuration entry ("docs/import_url"), the inner key a
// first-level argument that the entry binds; a tool whose entry binds nothing
// is present with an empty map.
//
// In a tool with an entry exactly the bound arguments are tested. In any other
// tool every string is tested, at any depth, whose schema format is a URI or
// whose name is url, uri, href or endpoint.
func New(r Resolver, tools map[string]map[string]Rule) *Guard {
	return &Guard{resolver: r, tools: tools}
}

// Name returns the constant [Name].
func (g *Guard) Name() string { return Name }

// Inspect blocks c when one of its URLs is refused. All URLs are examined
// before the first name is looked up.
func (g *Guard) Inspect(ctx context.Context, c *guards.Call) guards.Decision {
	judge := func(a *guards.Arg) (Target, *guards.Block) { return judgeUnbound(a, c.AnyURL, c.Except) }
	if bound, ok := g.tools[c.Tool]; ok {
		judge = func(a *guards.Arg) (Target, *guards.Block) { return judgeBound(a, bound, c.Except) }
	}
	var pending []lookup
	for i := range c.Args {
		a := &c.Args[i]
		t, b := judge(a)
		if b != nil {
			return blocked(a, b)
		}
		pending = enqueue(pending, t, a)
	}
	if len(pending) > maxLookups {
		return blocked(pending[maxLookups].arg, refuse(RuleBudget, "too many different hosts in one call"))
	}
	for _, p := range pending {
		if b := resolve(ctx, g.resolver, p.host, c.Except); b != nil {
			return blocked(p.arg, b)
		}
	}
	return guards.Decision{}
}

// lookup is a host name that is still to be resolved, and where it stood.
type lookup struct {
	host string
	arg  *guards.Arg
}

// enqueue adds t's host unless it is a literal address, empty or there already.
func enqueue(pending []lookup, t Target, a *guards.Arg) []lookup {
	if t.Host == "" || t.Addr.IsValid() || len(pending) > maxLookups {
		return pending
	}
	if slices.ContainsFunc(pending, func(p lookup) bool { return p.host == t.Host }) {
		return pending
	}
	return append(pending, lookup{t.Host, a})
}

// judgeBound examines a if it is a bound argument, or an element of one that is
// an array. The zero Target means that there is nothing to look up.
func judgeBound(a *guards.Arg, bound map[string]Rule, except guards.Except) (Target, *guards.Block) {
	firstLevel := a.Path == a.Name
	r, ok := bound[a.Name]
	r.Except = except
	switch {
	case firstLevel && !ok:
		return Target{}, r.unless(variantOf(a.Name, bound))
	case !firstLevel && !(ok && isElement(a)):
		return Target{}, nil
	case a.Kind == guards.String:
		return Examine(a.Value, r)
	case firstLevel && a.Kind == guards.Array:
		return Target{}, nil // its elements follow
	}
	return Target{}, r.unless(refuse(RuleWrongType, a.Name+" must be a URL or a list of URLs"))
}

// unless is b, unless its rule is excepted.
func (r Rule) unless(b *guards.Block) *guards.Block {
	if b != nil && r.Except.Has(b.Rule) {
		return nil
	}
	return b
}

// isElement reports whether a stands in the first-level array that it is named
// after: "urls[]".
func isElement(a *guards.Arg) bool {
	rest, ok := strings.CutPrefix(a.Path, a.Name)
	return ok && strings.HasPrefix(rest, "[")
}

// judgeUnbound examines a if it looks like a URL that the upstream may fetch.
func judgeUnbound(a *guards.Arg, anyURL bool, except guards.Except) (Target, *guards.Block) {
	if a.Kind != guards.String {
		return Target{}, nil
	}
	if a.URL || isURLName(a.Name) || anyURL && isWholeURL(a.Value) {
		return examineLoose(a.Value, Rule{Except: except})
	}
	return Target{}, nil
}

// isWholeURL says whether s is a URL and nothing else, as opposed to prose with
// one in it.
func isWholeURL(s string) bool {
	s = strings.TrimSpace(s)
	return strings.Contains(s, "://") && !strings.ContainsFunc(s, unicode.IsSpace)
}

func isURLName(name string) bool {
	for _, n := range [...]string{"url", "uri", "href", "endpoint"} {
		if text.IsVariant(name, n) {
			return true
		}
	}
	return false
}

// variantOf blocks a name that is not bound but that a lenient decoder upstream
// would take for one that is. Such an argument would carry an untested URL.
func variantOf(name string, bound map[string]Rule) *guards.Block {
	for want := range bound {
		if text.IsVariant(name, want) {
			return refuse(RuleAmbiguous, "an argument name differs from "+want+" only in case or invisible characters")
		}
	}
	return nil
}

func refuse(rule, reason string) *guards.Block {
	return &guards.Block{Rule: rule, Public: "blocked by SSRF guard: " + reason}
}

func blocked(a *guards.Arg, b *guards.Block) guards.Decision {
	return guards.Decision{
		Block: b,
		Findings: []guards.Finding{{
			Guard: Name, Rule: b.Rule, Label: Name + ":" + b.Rule, End: len(a.Value), Score: 1,
		}},
	}
}
