package secrets

import "strings"

// token matches a credential with a fixed prefix. The whole run is taken, so
// that no tail of a longer credential survives.
func (c *scanner) token(t *trigger, at, end int) {
	prefix := t.token.prefix
	if c.text[at:end] != prefix || !c.startsWord(at) {
		return
	}
	stop := c.run(end, t.token.set)
	stop = c.trim(end, stop, ".-/")
	if size := stop - end; size < t.token.min || t.token.exact && size > t.token.min {
		return
	}
	if !c.random(t.token, end, stop) {
		return
	}
	c.add(t.token.rule, at, stop)
}

// sample bounds how much of a value is looked at to judge it.
const sample = 64

// random says whether text[from:to], behind the prefix of t, looks drawn rather
// than written: not a few characters over and over (ghp_xxxxxxxx), no alphabet,
// no words with a number.
func (c *scanner) random(t token, from, to int) bool {
	s := c.text[from:min(to, from+sample)]
	c.work += len(s)
	k := count(s)
	switch {
	case t.min == 0:
		return true
	case t.exact && t.min < 20:
		return k.different >= 3 // the form says enough, AKIAIOSFODNN7EXAMPLE included
	case k.different < 8 || ascending(s):
		return false
	}
	return k.digits >= 2 || t.set == alnum && k.lower > 3 && k.upper > 3
}

// ascending says whether s counts or spells the alphabet: eight characters,
// each the successor of the one before.
func ascending(s string) bool {
	run := 1
	for i := 1; i < len(s); i++ {
		if s[i] != s[i-1]+1 {
			run = 0
		}
		if run++; run == 8 {
			return true
		}
	}
	return false
}

// counts says what a value is made of.
type counts struct{ digits, lower, upper, symbols, different int }

func count(s string) (k counts) {
	var seen [4]uint64
	for i := range len(s) {
		b := s[i]
		switch {
		case isDigit(b):
			k.digits++
		case 'a' <= b && b <= 'z':
			k.lower++
		case 'A' <= b && b <= 'Z':
			k.upper++
		case strings.IndexByte("!@#$%^&*+=~?", b) >= 0:
			k.symbols++
		}
		if bit := uint64(1) << (b & 63); seen[b>>6]&bit == 0 {
			seen[b>>6] |= bit
			k.different++
		}
	}
	return k
}

// jwt matches a JSON Web Token (RFC 7519): base64url parts between dots. The
// signature may be short or empty, an encrypted token (RFC 7516) has five
// parts. A header of JSON starts with eyJ; a token whose first two parts start
// with ey is taken too.
func (c *scanner) jwt(at int) {
	s := c.text
	if s[at:at+2] != "ey" || !c.startsWord(at) {
		return
	}
	header := c.run(at, slug)
	if header-at < 12 || !strings.HasPrefix(s[header:], ".") {
		return
	}
	body := c.run(header+1, slug)
	if body-header < 9 || s[at+2] != 'J' && !strings.HasPrefix(s[header+1:], "ey") {
		return
	}
	c.add(ruleJWT, at, c.trim(body, c.run(at, dotted), ".-"))
}

// pem matches a private key block (RFC 7468, and the older forms with a kind
// before the words). Without an end the rest of the text goes: a truncated key
// is still most of a key.
func (c *scanner) pem(at, end int) {
	s := c.text
	body := privateKeyLine(s, end)
	if body < 0 || s[at:end] != "-----BEGIN " {
		return
	}
	stop := -1
	for i := body; stop < 0; {
		next := strings.Index(s[i:], "-----END ")
		if next < 0 {
			stop = len(s)
			break
		}
		i += next + len("-----END ")
		stop = privateKeyLine(s, i)
	}
	c.work += stop - end
	c.add(rulePrivateKey, at, stop)
}

// privateKeyLine returns the end of a PEM line whose label starts at i and
// names a private key, or -1.
func privateKeyLine(s string, i int) int {
	end := i
	for end < min(len(s), i+40) && (s[end] == ' ' || isDigit(s[end]) || 'A' <= s[end] && s[end] <= 'Z') {
		end++
	}
	if !strings.Contains(s[i:end], "PRIVATE KEY") || !strings.HasPrefix(s[end:], "-----") {
		return -1
	}
	return end + len("-----")
}

// authorization matches the credential of an Authorization header (RFC 9110
// section 11.6.2), and a bearer token without its header when it looks random.
func (c *scanner) authorization(t *trigger, at, end int) {
	start := c.skip(end, " \t", 4)
	if start == end || !c.startsWord(at) {
		return
	}
	stop := c.run(start, token68)
	if strings.HasPrefix(c.text[stop:], marker) {
		return // what is left beside a redaction is no secret
	}
	stop = c.trim(start, stop, ".")
	value := c.text[start:min(stop, start+sample)]
	k := count(value)
	c.work += len(value)
	mixed := k.digits > 0 || k.lower > 0 && k.upper > 0
	least := 20
	if c.followsHeader(at) {
		least = 8
	} else if t.word == "basic" || k.digits == 0 {
		mixed = k.digits > 0 && k.lower > 0 && k.upper > 0
	}
	if stop-start < least || !mixed || k.different < 5 || placeholder(value) {
		return
	}
	c.addLoose(ruleBearer, start, stop)
}

// followsHeader says whether text[:at] ends in an Authorization header's name
// and what stands between it and its value.
func (c *scanner) followsHeader(at int) bool {
	const name = "authorization"
	before := strings.TrimRight(c.text[max(0, at-24):at], " \t:=\"'`\\,>(")
	i := len(before) - len(name)
	return i >= 0 && strings.EqualFold(before[i:], name)
}

// userFlag matches the password of "curl -u user:password".
func (c *scanner) userFlag(end int) {
	start := c.skip(end, " \"'", 3)
	stop := c.run(start, bare)
	user, secret, ok := strings.Cut(c.text[start:min(stop, start+sample)], ":")
	c.work += len(user) + len(secret)
	k := count(secret)
	if !ok || len(user) == 0 || len(secret) < 6 || k.lower+k.upper == 0 || placeholder(secret) {
		return
	}
	if stop, ok = c.wholeValue(start, stop, ""); ok {
		c.addLoose(ruleUserFlag, start+len(user)+1, stop)
	}
}

// skip returns the index behind at most limit bytes of set from i on.
func (c *scanner) skip(i int, set string, limit int) int {
	for n := 0; n < limit && i < len(c.text) && strings.IndexByte(set, c.text[i]) >= 0; n++ {
		i++
		c.work++
	}
	return i
}

// trim returns stop moved back over punctuation of set that ends a sentence
// rather than a secret. It is bounded because many words may share one stop.
func (c *scanner) trim(start, stop int, set string) int {
	for n := 0; n < 8 && stop > start && strings.IndexByte(set, c.text[stop-1]) >= 0; n++ {
		stop--
		c.work++
	}
	return stop
}
