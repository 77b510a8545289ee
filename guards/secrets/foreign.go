package secrets

import (
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
	"github.com/zricethezav/gitleaks/v8/config"
)

// foreignRule is a rule of gitleaks: its keyword brings us to a place, we say what the
// secret would be there, and its expression says whether it is one. So an expression is
// only shown a few bytes, from their first one on.
type foreignRule struct {
	rule    string
	form    foreignForm
	before  int     // bytes of the secret in front of the keyword
	entropy float64 // bits a byte that the secret has more of
	prefix  string  // how the expression writes the keyword, if only so
	cased   bool    // the vendor's name is in one case, or a capital and small letters
	expr    func() *regexp.Regexp
	closed  bool          // the secret ends where the run does
	bounds  func() [2]int // bytes of the shortest and of the longest secret
}

type foreignForm uint8

const (
	prefixed foreignForm = iota // the secret starts with the keyword, or so many bytes before it
	assigned                    // the keyword is in the name that the secret is given to
)

const (
	shortestForeign = 14   // bytes; no rule has shorter secrets
	longestForeign  = 2048 // bytes that are shown to an expression
)

// unused are rules whose secrets our own ones find without expressions, or that need more
// than a place to look at. Those whose keyword starts with one of our own prefixes are not
// used either.
var unused = []string{
	"generic-api-key", "hashicorp-tf-password", "freemius-secret-key", "nuget-config-password", // assignments
	"private-key", "jwt", "jwt-base64",
	"curl-auth-header", "curl-auth-user", "sidekiq-sensitive-url",
	"slack-webhook-url", "microsoft-teams-webhook",
	"kubernetes-secret-yaml", // two words, hundreds of bytes apart
	"facebook-access-token",  // an app's number and secret: its name may be anywhere in the text
	"pkcs12-file",            // names of files
}

// before are rules whose keyword is not at the start of the secret, and how far from it.
var before = map[string]int{"azure-ad-client-secret": 3, "hashicorp-tf-api-token": 15, "maxmind-license-key": 36}

// keywords that say more: a vendor's name may be anywhere in the text, and two signs are
// repeated more cheaply than three.
var keywords = map[string][]string{
	"airtable-personnal-access-token": {"pat"},
	"azure-ad-client-secret":          {"0q~", "1q~", "2q~", "3q~", "4q~", "5q~", "6q~", "7q~", "8q~", "9q~"},
}

// digests end names of values that look drawn and are computed.
var digests = []string{"hash", "sha", "sha1", "sha256", "sha512", "md5", "digest", "checksum", "etag", "commit", "revision", "fingerprint", "uuid", "guid"}

// What gitleaks' generator puts around an expression for a value that a name announces.
const (
	foreignOperator = `(?:[ \t\w.-]{0,20})[\s'"]{0,3}`
	foreignValue    = "[\\x60'\"\\s=]{0,5}"
	foreignEnd      = "(?:[\\x60'\"\\s;]|\\\\[nr]|$)"
)

// addForeign adds the rules of gitleaks.
func (t *table) addForeign() {
	var file struct {
		Rules []struct {
			ID, Regex string
			Entropy   float64
			Keywords  []string
		}
	}
	if err := toml.Unmarshal([]byte(config.DefaultConfig), &file); err != nil {
		panic(fmt.Sprintf("secrets: the rules of gitleaks: %v", err)) // they are part of the program
	}
	at := map[string]int{}
	for i, trigger := range t.triggers {
		at[trigger.word] = i
	}
	for _, r := range file.Rules {
		if slices.Contains(unused, r.ID) {
			continue
		}
		form, expr, words := prefixed, r.Regex, r.Keywords
		if name, value, ok := strings.Cut(r.Regex, foreignOperator); ok {
			_, value, _ = strings.Cut(value, foreignValue)
			form, expr, words = assigned, value, vendors(name, r.Keywords)
			if strings.HasPrefix(r.Regex, "(?i)") {
				expr = "(?i)" + expr
			}
		} else if better, ok := keywords[r.ID]; ok {
			words = better
		}
		expr = "^(?:" + expr + ")"
		rule := &foreignRule{rule: strings.ReplaceAll(r.ID, "-", "_"), form: form, before: before[r.ID], entropy: r.Entropy, closed: strings.HasSuffix(r.Regex, foreignEnd)}
		if r.ID == "sentry-org-token" {
			rule.rule = "sentry_token" // as our own
		}
		rule.cased = form == assigned && strings.Contains(r.Regex, "(?-i:")
		rule.bounds = sync.OnceValue(func() [2]int {
			parsed, err := syntax.Parse(expr, syntax.Perl)
			if err != nil {
				panic(err) // as would MustCompile
			}
			least, most := bounds(parsed)
			if most == longestForeign {
				most = math.MaxInt
			}
			return [2]int{least, most}
		})
		rule.expr = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
		for _, word := range words {
			if form == prefixed && ownPrefix(word) {
				continue
			}
			this := *rule
			this.prefix = spelling(r.Regex, word)
			i, ok := at[word]
			if !ok {
				i = len(t.triggers)
				at[word], t.triggers = i, append(t.triggers, trigger{word: word, kind: foreignWord})
			}
			t.triggers[i].foreign = append(t.triggers[i].foreign, &this)
			if form == prefixed && len(this.prefix) >= longPrefix {
				t.prefixed = append(t.prefixed, &this)
			}
			t.label(rule.rule)
		}
	}
}

// vendors are the names that an expression looks for. Where it lists plain ones, the
// keywords may be parts of the value instead.
func vendors(expr string, keywords []string) []string {
	if i := strings.LastIndex(expr, "{0,50}?"); i >= 0 {
		expr = expr[i+len("{0,50}?"):]
	}
	list := strings.Split(strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(expr, "(?:"), ")")), "|")
	for _, name := range list {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return keywords
		}
	}
	return list
}

// ownPrefix says whether one of our own prefixes starts the keyword. Such rules of ours
// take more than gitleaks' ones.
func ownPrefix(keyword string) bool {
	return slices.ContainsFunc(tokens, func(t token) bool { return strings.HasPrefix(keyword, strings.ToLower(t.prefix)) })
}

// spelling returns how an expression that minds the case writes a keyword, or nothing.
func spelling(expr, keyword string) string {
	quoted := regexp.QuoteMeta(keyword)
	i := strings.Index(strings.ToLower(expr), quoted)
	if i < 0 || strings.Contains(expr[:i], "(?i") {
		return ""
	}
	return strings.ReplaceAll(expr[i:i+len(quoted)], `\`, "")
}

// foreign asks the rules of gitleaks whose keyword is text[at:end].
func (c *scanner) foreign(rules []*foreignRule, at, end int) {
	valueAt, valueEnd, looked := -1, -1, false
	for _, r := range rules {
		start, stop := at, end
		switch {
		case r.cased && !oneCase(c.text[at:end]):
			continue
		case r.form == assigned && !looked:
			valueAt, valueEnd = c.announced(at, end)
			looked = true
			fallthrough
		case r.form == assigned:
			start, stop = valueAt, valueEnd
		case r.prefix != "" && c.text[at:end] != r.prefix:
			continue
		case at >= r.before && c.startsWord(at-r.before):
			start -= r.before
			if stop = c.run(end, token68); strings.HasPrefix(c.text[stop:], marker) {
				continue // what is left beside a redaction is no secret
			}
			stop = c.trim(end, stop, ".-/")
		}
		if size := stop - start; size >= shortestForeign && (!r.closed || size <= r.bounds()[1]) {
			c.ask(r, start, stop)
		}
	}
}

// announced returns the value of a name that has a vendor's name in it, or -1.
func (c *scanner) announced(at, end int) (start, stop int) {
	s := c.text
	from, to := c.name(at, end)
	for to < min(len(s), end+maxName) && (s[to] == ' ' || s[to] == '\t' || member[s[to]]>>dotted&1 != 0) {
		to++
		c.work++
	}
	start, quote := c.operator(to)
	after := strings.TrimRight(s[end:to], " \t")
	if start < 0 || !telling(s[from:at], after) || isOne(lastPart(after), digests) || strings.HasSuffix(s[:from], marker) {
		return -1, -1
	}
	stop = c.valueEnd(start, quote)
	if quote == "" && strings.HasPrefix(s[stop:], marker) {
		return -1, -1
	}
	if stop-start > longestForeign {
		return -1, -1
	}
	if quote == "" {
		return start, c.trimValue(start, stop, quote)
	}
	if i := strings.IndexAny(s[start:stop], ";\\`'\""); i >= 0 {
		stop = start + i // as the expressions have it
	}
	return start, stop
}

// ask shows text[start:stop] to the rule's expression.
func (c *scanner) ask(r *foreignRule, start, stop int) {
	s := c.text[start:min(stop, start+longestForeign)]
	first := s[:min(len(s), sample)]
	c.work += len(first)
	if k := count(strings.TrimPrefix(first, r.prefix)); k.different < 5 || k.digits == 0 && (k.upper == 0 || k.lower == 0) {
		return // neither has a part of it
	}
	at := r.expr().FindStringSubmatchIndex(s)
	c.work += min(len(s), sample)
	if at == nil {
		return
	}
	c.work += len(s)
	from, to := at[0], at[1]
	for i := 2; i < len(at); i += 2 {
		if at[i+1] > at[i] {
			from, to = at[i], at[i+1]
			break
		}
	}
	value := s[from:min(to, from+sample)]
	k := count(strings.TrimPrefix(value, r.prefix))
	if k.different < 5 || k.lower+k.upper == 0 || k.digits == 0 && (3*k.upper <= k.lower || 3*k.lower <= k.upper) {
		return // words, a name in camel case, or a number
	}
	if placeholder(value) || entropy(s[from:to]) <= r.entropy || c.except.Has(r.rule) {
		return
	}
	from, to = start+from, start+to
	if r.form == prefixed {
		to = stop // no tail of a longer secret survives
	}
	c.seen = append(c.seen, candidate{r.rule, from, to, foreign})
}

// oneCase says whether only the first letter of a name may be a capital alone.
func oneCase(name string) bool {
	k := count(name[1:])
	return k.upper == 0 || k.lower == 0 && count(name[:1]).upper == 1
}

// longPrefix is the length from which on a prefix is nothing that a password starts with.
const longPrefix = 6

// cutShort says whether a value starts as some vendor's tokens do, and is shorter than any:
// what is shown of a token to tell it from others.
func cutShort(value string) bool {
	if len(value) == sample {
		return false
	}
	for _, r := range rules().prefixed {
		if strings.HasPrefix(value, r.prefix) && len(value) < r.bounds()[0] {
			return true
		}
	}
	return false
}

// bounds are the lengths of the shortest and of the longest text that an expression
// matches; a longest one of [longestForeign] is none.
func bounds(e *syntax.Regexp) (least, most int) {
	switch e.Op {
	case syntax.OpLiteral:
		return len(e.Rune), len(e.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1, 1
	case syntax.OpCapture:
		return bounds(e.Sub[0])
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		n, m := bounds(e.Sub[0])
		switch {
		case e.Op == syntax.OpRepeat && e.Max >= 0:
			return e.Min * n, min(e.Max*m, longestForeign)
		case e.Op == syntax.OpRepeat:
			return e.Min * n, longestForeign
		case e.Op == syntax.OpPlus:
			return n, longestForeign
		case e.Op == syntax.OpQuest:
			return 0, m
		}
		return 0, longestForeign
	case syntax.OpConcat:
		for _, sub := range e.Sub {
			n, m := bounds(sub)
			least, most = least+n, min(most+m, longestForeign)
		}
	case syntax.OpAlternate:
		least = longestForeign
		for _, sub := range e.Sub {
			n, m := bounds(sub)
			least, most = min(least, n), max(most, m)
		}
	}
	return least, most
}

// entropy is Shannon's, in bits a byte.
func entropy(s string) (bits float64) {
	var counts [256]int
	for i := range len(s) {
		counts[s[i]]++
	}
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits
}
