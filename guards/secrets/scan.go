package secrets

import (
	"cmp"
	"slices"
	"strings"

	"mcp-sidecar/guards"
)

// charset names a set of bytes that a secret is written in.
type charset uint8

const (
	alnum   charset = iota // A-Z a-z 0-9
	ident                  // and _
	slug                   // and -
	dotted                 // and .
	token68                // and ~ + / =, RFC 9110 section 11.2
	address                // what a URL may hold in practice: neither white space, quotes nor < > \
	bare                   // an unquoted value up to a bracket, which may open a marker
	charsets
)

var member = buildMember()

// buildMember returns for each byte the sets that it belongs to, one bit each.
func buildMember() (table [256]uint8) {
	for i := range table {
		b := byte(i)
		switch {
		case isAlnum(b):
			table[i] = 1<<charsets - 1
		case b == '_':
			table[i] = 1<<ident | 1<<slug | 1<<dotted | 1<<token68 | 1<<address | 1<<bare
		case b == '-':
			table[i] = 1<<slug | 1<<dotted | 1<<token68 | 1<<address | 1<<bare
		case b == '.':
			table[i] = 1<<dotted | 1<<token68 | 1<<address | 1<<bare
		case strings.IndexByte("~+/=", b) >= 0:
			table[i] = 1<<token68 | 1<<address | 1<<bare
		case b <= ' ' || b == 0x7f || strings.IndexByte("\"'`<>\\", b) >= 0:
		case strings.IndexByte(",;&|[", b) >= 0:
			table[i] = 1 << address
		default:
			table[i] = 1<<address | 1<<bare
		}
	}
	return table
}

func isAlnum(b byte) bool { return isDigit(b) || isLetter(b) }
func isDigit(b byte) bool { return '0' <= b && b <= '9' }
func isLetter(b byte) bool {
	b |= 0x20
	return 'a' <= b && b <= 'z'
}

// candidate is a secret before overlaps are settled.
type candidate struct {
	rule       string
	start, end int
	rank       rank
}

// rank says whose name a secret gets that several rules see.
type rank uint8

const (
	foreign rank = iota // a rule of gitleaks
	loose               // the rule knows the surroundings of the secret
	exact               // the rule knows its form
)

// scanner is one pass over one text.
type scanner struct {
	text string
	seen []candidate
	// exactEnd and looseEnd say how far the text is already covered, so that
	// words inside a finding are not looked at again.
	exactEnd, looseEnd int
	runs               [charsets]struct{ from, to int }
	work               int         // bytes read behind words; a test holds it linear
	depth              int         // encodings around the text
	plain              []candidate // found in the text as it stands, merged
	except             guards.Except
}

func (c *scanner) scan() {
	t := rules()
	for end := t.lexicon.next(c.text, 0); end >= 0; end = t.lexicon.next(c.text, end) {
		all := t.lexicon.candidates(c.text, end)
		for i := range all {
			if t.lexicon.endsAt(&all[i], c.text, end) {
				c.hit(&t.triggers[all[i].word], end)
			}
		}
	}
}

// hit runs the rule of a word that ends at end.
func (c *scanner) hit(t *trigger, end int) {
	at := end - len(t.word)
	if at < c.exactEnd {
		return
	}
	switch t.kind {
	case tokenWord:
		c.token(t, at, end)
	case jwtWord:
		c.jwt(at)
	case urlWord:
		c.url(at, end)
	case pemWord:
		c.pem(at, end)
	case schemeWord:
		c.authorization(t, at, end)
	case userFlagWord:
		c.userFlag(end)
	case keyWord:
		c.assignment(t, at, end)
	}
	if len(t.foreign) > 0 {
		c.foreign(t.foreign, at, end)
	}
}

// add notes a secret. Behind one that is excepted every word is looked at.
func (c *scanner) add(rule string, start, end int) {
	if c.except.Has(rule) {
		return
	}
	c.seen = append(c.seen, candidate{rule, start, end, exact})
	c.exactEnd = max(c.exactEnd, end)
}

func (c *scanner) addLoose(rule string, start, end int) {
	if c.except.Has(rule) {
		return
	}
	c.seen = append(c.seen, candidate{rule, start, end, loose})
	c.looseEnd = max(c.looseEnd, end)
}

// run returns the end of the bytes of set that start at i. It remembers the
// last run of each set: in "sk-sk-sk-…" every word starts inside the same run,
// and reading it again for each would be quadratic.
func (c *scanner) run(i int, set charset) int {
	last := &c.runs[set]
	if last.from <= i && i < last.to {
		return last.to
	}
	end := i
	for end < len(c.text) && member[c.text[end]]>>set&1 != 0 {
		end++
	}
	c.work += end - i + 1
	if end > i {
		last.from, last.to = i, end
	}
	return end
}

// startsWord says whether a token may start at i: the byte before is no letter
// or digit, or it is the tail of an escape such as \n, \u003d or %3D (JSON and
// URLs inside text).
func (c *scanner) startsWord(i int) bool {
	s := c.text
	if i == 0 || !isAlnum(s[i-1]) {
		return true
	}
	escape := func(back int, intro string) bool {
		return i >= back && strings.HasPrefix(s[i-back:], intro)
	}
	return escape(2, `\`) || escape(3, "%") || escape(6, `\u`)
}

// findings settles overlaps: one finding covers them, and the rule that knows
// most about the secret gives it its name.
func (c *scanner) findings() []guards.Finding {
	if len(c.seen) == 0 {
		return nil
	}
	merged, labels := merge(c.seen), rules().labels
	found := make([]guards.Finding, len(merged))
	for i, m := range merged {
		found[i] = guards.Finding{
			Guard: Name, Rule: m.rule, Label: labels[m.rule],
			Start: m.start, End: m.end, Score: 1,
		}
	}
	return found
}

// merge orders candidates and joins those that overlap, in a list of its own.
func merge(seen []candidate) []candidate {
	if len(seen) == 0 {
		return nil
	}
	seen = slices.SortedStableFunc(slices.Values(seen), func(a, b candidate) int { return cmp.Compare(a.start, b.start) })
	merged := seen[:1]
	for _, next := range seen[1:] {
		last := &merged[len(merged)-1]
		if next.start >= last.end {
			merged = append(merged, next)
			continue
		}
		if next.rank > last.rank {
			last.rule, last.rank = next.rule, next.rank
		}
		last.end = max(last.end, next.end)
	}
	return merged
}
