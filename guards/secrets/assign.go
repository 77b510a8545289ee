package secrets

import (
	"slices"
	"strings"
)

// strength says how much the name alone tells about its value.
type strength uint8

const (
	key      strength = iota // token, secret, api_key: the value must look random
	password                 // password: the value need only not be a plain word
)

var passwordWords = []string{"password", "passwd", "passphrase", "pwd", "pass"}

var keyWords = []string{
	"secret", "token", "credential",
	"apikey", "api_key", "api-key", "api key",
	"accesskey", "access_key", "access-key", "access key",
	"authkey", "auth_key", "auth-key",
	"privatekey", "private_key", "private-key",
	"encryption_key", "signing_key", "license_key", "account_key", "accountkey",
}

// maxName bounds how far a name reaches on either side of its word.
const maxName = 32

// assignment matches the value that a telling name is given: password=…,
// "api_key": "…", export DB_PASSWORD='…', <token>…</token>. Only the value goes.
func (c *scanner) assignment(t *trigger, at, end int) {
	if at < c.looseEnd {
		return
	}
	from, to := c.name(at, end)
	if t.word == "pass" && (to != end || from != at && isAlnum(c.text[at-1])) {
		return // bypass, passenger, passed
	}
	start, quote := c.operator(to)
	if start < 0 || !telling(c.text[from:at], c.text[end:to]) || strings.HasSuffix(c.text[:from], marker) {
		return
	}
	stop := c.valueEnd(start, quote)
	value := c.text[start:c.trimValue(start, stop, quote)]
	value = value[:min(len(value), sample)]
	c.work += len(value)
	if !secretValue(value, t.strength, quote != "") {
		return
	}
	stop, ok := c.wholeValue(start, stop, quote)
	if !ok {
		c.looseEnd = max(c.looseEnd, stop)
		return
	}
	c.addLoose(assignmentRule(c.text[from:to], c.text[start:stop]), start, stop)
}

// name returns the bounds of the name around the word at text[at:end].
func (c *scanner) name(at, end int) (from, to int) {
	s := c.text
	from, to = at, end
	for from > max(0, at-maxName) && member[s[from-1]]>>dotted&1 != 0 {
		from--
	}
	for to < min(len(s), end+maxName) && member[s[to]]>>dotted&1 != 0 {
		to++
	}
	for to > end && s[to-1] == '.' {
		to-- // ".=" of some languages
	}
	c.work += to - from
	return from, to
}

// operator reads what stands between a name and its value: closing quotes,
// white space, perhaps the type, an operator. It returns where the value starts
// and the quote that opens it, or -1.
func (c *scanner) operator(i int) (start int, quote string) {
	s := c.text
	closed := c.skip(i, "\"'`]*\\", 4)
	spaced := c.skip(closed, " \t", 8)
	switch {
	case i == closed && spaced > i && hasFoldPrefix(s[spaced:], "string "):
		spaced = c.skip(spaced+len("string "), " \t", 8) // var token string = "…"
	case i < closed && spaced > closed && hasFoldPrefix(s[spaced:], "value="):
		spaced += len("value") // <add key="token" value="…">
	}
	i = c.skip(spaced, ":=>?.+,", 4)
	op := s[spaced:i]
	space := " \t*"
	switch {
	case !strings.ContainsAny(op, "=:>,") || strings.HasPrefix(op, "=="):
		return -1, ""
	case op == ">":
		space = " \t\r\n" // <token>…</token>
	}
	i = c.skip(i, space, 16)
	quote = quoteAt(s[i:])
	if op == "," && quote == "" {
		return -1, ""
	}
	return i + len(quote), quote
}

func quoteAt(s string) string {
	for _, q := range [...]string{`"`, `'`, "`", `\"`} {
		if strings.HasPrefix(s, q) {
			return q
		}
	}
	return ""
}

// valueEnd returns the end of a value: white space, its closing quote, or for
// an unquoted value whatever cannot belong to it.
func (c *scanner) valueEnd(start int, quote string) int {
	if quote == "" {
		return c.run(start, bare)
	}
	s, i := c.text, start
	for i < len(s) && s[i] > ' ' && !strings.HasPrefix(s[i:], quote) {
		if s[i] == '\\' && quote == `"` && i+1 < len(s) && s[i+1] > ' ' {
			i++ // an escaped quote does not close
		}
		i++
	}
	c.work += i - start
	return i
}

// wholeValue takes an accepted value on to its real end. It is not ok if that
// is a marker: the text has been redacted, what is left of it is no secret.
func (c *scanner) wholeValue(start, stop int, quote string) (end int, ok bool) {
	s := c.text
	if quote != "" {
		return stop, !strings.Contains(s[start:stop], marker)
	}
	for stop < len(s) && s[stop] == '[' {
		if strings.HasPrefix(s[stop:], marker) {
			return stop, false
		}
		stop = c.run(stop+1, bare)
	}
	return c.trimValue(start, stop, quote), true
}

// trimValue returns the end of a value without the punctuation behind it.
func (c *scanner) trimValue(start, stop int, quote string) int {
	if quote != "" {
		return stop
	}
	return c.trim(start, stop, ")]}.:*")
}

// assignmentRule names the secret by its name and form.
func assignmentRule(name, value string) string {
	if len(value) == 40 && containsFold(name, "secret") && (containsFold(name, "aws") || containsFold(name, "access")) {
		return ruleAWSSecret
	}
	return rulePassword
}

// Names around a telling word that say its value is something else: a limit, a
// place, a cursor.
var (
	otherBefore = []string{"page", "next", "continuation", "cursor", "progress", "sync", "max", "min", "num", "public"}
	otherAfter  = []string{
		"id", "ids", "name", "names", "type", "file", "path", "dir", "url", "uri", "endpoint", "ref",
		"count", "limit", "length", "len", "size", "ttl", "expiry", "expires", "expiration", "lifetime",
		"policy", "field", "label", "hint", "prompt", "regex", "pattern", "algorithm", "method", "format",
		"header", "prefix", "version", "schema", "description", "title", "at", "in", "on",
	}
)

// telling says whether the name's parts around its word leave the value secret.
func telling(before, after string) bool {
	for _, w := range otherBefore {
		if hasPart(before, w) {
			return false
		}
	}
	return !isOne(lastPart(after), otherAfter)
}

// lastPart is the last part of what follows a word in a name.
func lastPart(after string) string {
	for len(after) > 0 && !isAlnum(after[0]) {
		after = after[1:]
	}
	for i := len(after) - 1; i > 0; i-- {
		if !isAlnum(after[i]) || hump(after, i) {
			return strings.TrimLeft(after[i:], "_-.")
		}
	}
	return after
}

// isOne says whether s is one of a list, in any case.
func isOne(s string, list []string) bool {
	return slices.ContainsFunc(list, func(w string) bool { return strings.EqualFold(s, w) })
}

// hasPart says whether w is a part of a name such as next_page_ or nextPage.
func hasPart(name, w string) bool {
	for i := 0; i+len(w) <= len(name); i++ {
		end := i + len(w)
		opens := i == 0 || !isLetter(name[i-1]) || hump(name, i)
		closes := end == len(name) || !isLetter(name[end]) || hump(name, end)
		if opens && closes && strings.EqualFold(name[i:end], w) {
			return true
		}
	}
	return false
}

// hump says whether a new part of a camelCase name starts at i.
func hump(name string, i int) bool {
	return 'A' <= name[i] && name[i] <= 'Z' && 'a' <= name[i-1] && name[i-1] <= 'z'
}

func containsFold(s, lower string) bool {
	for i := 0; i+len(lower) <= len(s); i++ {
		if s[i]|0x20 == lower[0]|0x20 && strings.EqualFold(s[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}

func hasFoldPrefix(s, lower string) bool {
	return len(s) >= len(lower) && strings.EqualFold(s[:len(lower)], lower)
}

// secretValue judges a value by at most its first [sample] bytes.
func secretValue(v string, s strength, quoted bool) bool {
	if placeholder(v) || path(v) || !quoted && code(v, s) {
		return false
	}
	k := count(v)
	letters := k.lower + k.upper
	if s == password {
		return len(v) >= 6 && k.different >= 4 && (k.digits > 0 || k.symbols > 0 || quoted && k.lower > 0 && k.upper > 1)
	}
	switch {
	case len(v) < 8 || k.different < 6 || ascending(v):
		return false
	case cutShort(v) || qualified(v):
		return false
	case k.digits == 0:
		return quoted && len(v) >= 20 && k.lower > 0 && k.upper > 3 // unquoted it is an identifier
	}
	return letters > 0 || len(v) >= 16
}

// code says whether an unquoted value is an expression that fetches or makes
// the secret: getenv("X"), Token{…}, config.db.token. A bracket behind a digit
// is taken for part of a password, and so is a dot.
func code(v string, s strength) bool {
	if i := strings.IndexAny(v, "({"); i > 0 && count(v[:i]).digits == 0 && isLetter(v[i-1]) {
		return true
	}
	return s == key && strings.Contains(v, ".") && count(v).digits < 3 && isLetter(v[0])
}

// qualified says whether v is a name in a namespace: ns2:AccessTokenType.
func qualified(v string) bool {
	space, name, ok := strings.Cut(v, ":")
	if !ok || len(space) > 10 || len(name) < 2 || !hump("a"+name, 1) {
		return false
	}
	k, words := count(name), 0
	for i := 1; i < len(name); i++ {
		if hump(name, i) {
			words++
		}
	}
	return k.lower+k.upper == len(name) && k.upper == words+1 && k.lower >= 3*k.upper
}

// path says whether v is a place instead of a secret: PWD=/srv/app2.
func path(v string) bool {
	if strings.HasPrefix(v, "urn:") {
		return true
	}
	rest := strings.TrimLeft(v, ".~")
	return strings.HasPrefix(rest, "/") && count(v).upper == 0
}

// written lists what people put where a secret would stand.
var written = []string{
	"your", "changeme", "change-me", "change_me", "placeholder", "redacted", "dummy",
	"xxxx", "****", "0000000", "12345678901234567890",
}

// placeholder says whether v stands for a secret instead of being one: a
// variable, a template, a word to be replaced, one character repeated. v is at
// most [sample] bytes long.
func placeholder(v string) bool {
	if v == "" || strings.HasPrefix(v, marker) || variable(v) || len(v) > 1 && count(v).different == 1 {
		return true
	}
	for _, w := range templates {
		if strings.Contains(v, w) {
			return true
		}
	}
	for _, w := range written {
		if containsFold(v, w) {
			return true
		}
	}
	return false
}

// templates occur in values that a program fills in later.
var templates = []string{"${", "$(", "{{", "://", "...", "…", "example"}

// variable says whether all of v is one variable, as shells, templates and
// format strings write it. $ecret9 and %40pw are passwords.
func variable(v string) bool {
	last := v[len(v)-1]
	switch v[0] {
	case '<':
		return true
	case '{':
		return last == '}'
	case '%':
		return last == '%' || len(v) == 2
	case '$':
		k := count(v[1:])
		return k.symbols == 0 && (k.lower == 0 || k.digits == 0)
	}
	return false
}
