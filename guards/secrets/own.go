package secrets

import (
	"strings"

	"mcp-sidecar/guards"
)

// OwnName is the name of [OwnGuard].
const OwnName = "credential"

// ruleOwn is the rule of what the program itself must not show.
const ruleOwn = "credential"

// ShortestOwn is the length below which a credential is too short to be told from
// ordinary words, in bytes.
const ShortestOwn = 8

// OwnGuard redacts the program's own credentials and nothing else, for where
// [Guard], which does so too, is switched off: that is about what a server keeps,
// and never about what the server was shown.
type OwnGuard struct{}

var _ guards.Output = OwnGuard{}

// Name implements [guards.Output].
func (OwnGuard) Name() string { return OwnName }

// Find implements [guards.Output].
func (OwnGuard) Find(t guards.Text) []guards.Finding {
	c := scanner{text: t.Value}
	c.own(t.Own)
	return c.findings()
}

// Change implements [guards.Output]: it redacts what was found.
func (OwnGuard) Change(t guards.Text, found []guards.Finding) string {
	return splice(t.Value, found)
}

// own looks for credentials as they are. The form is known, so no word has to
// announce one.
func (c *scanner) own(credentials []string) {
	for _, credential := range credentials {
		if len(credential) < ShortestOwn {
			continue
		}
		anchor := rarest(credential)
		for at := indexOf(c.text, credential, anchor, 0); at >= 0; {
			c.add(ruleOwn, at, at+len(credential))
			at = indexOf(c.text, credential, anchor, at+len(credential))
		}
	}
}

// indexOf returns where credential stands in text, from there on. It looks for the
// credential's rarest character first: credentials have some that texts have few of,
// while their first is often among the commonest. A text that is full of it is
// searched in the ordinary way, whoever wrote it.
func indexOf(text, credential string, anchor, from int) int {
	last := len(text) - len(credential)
	missed := 0
	for at := from; at <= last; at++ {
		n := strings.IndexByte(text[at+anchor:last+anchor+1], credential[anchor])
		if n < 0 {
			return -1
		}
		at += n
		if text[at:at+len(credential)] == credential {
			return at
		}
		if missed++; missed > 16 && missed > (at-from)/32 {
			if n = strings.Index(text[at+1:], credential); n < 0 {
				return -1
			}
			return at + 1 + n
		}
	}
	return -1
}

// rarest is where the character stands of which texts have fewest.
func rarest(credential string) (at int) {
	for i := range len(credential) {
		if commonness[credential[i]] < commonness[credential[at]] {
			at = i
		}
		if commonness[credential[at]] == 0 {
			break
		}
	}
	return at
}

// commonness orders characters roughly by how many of them prose, code and encoded
// data have.
var commonness = buildCommonness()

func buildCommonness() (table [256]uint8) {
	for i := range table {
		table[i] = 1
	}
	for level, characters := range []string{"+~_QXZJKVW", "ABCDEFGHIJLMNOPRSTUY", "0123456789-./=", "vkjqxzbwgyp", "dlcumfh", "etaoinsr \""} {
		for i := range len(characters) {
			table[characters[i]] = uint8(level)
		}
	}
	return table
}
