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
		for at := 0; ; {
			i := strings.Index(c.text[at:], credential)
			if i < 0 {
				break
			}
			at += i
			c.add(ruleOwn, at, at+len(credential))
			at += len(credential)
		}
	}
}
