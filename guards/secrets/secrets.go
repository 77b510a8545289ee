// Package secrets finds credentials in text and replaces each by
// [REDACTED:<rule>].
//
// A rule is tied to words that its secret cannot lack ("AKIA", "://",
// "password"). One pass looks for all words at once; behind each hit a small
// hand-written matcher reads on. Every byte is read a bounded number of times,
// so the work is linear in the text whoever wrote it.
//
// What may be encoded (Base64, hexadecimal, percent signs, escapes, entities,
// characters that show nothing between others) is decoded, three deep, and looked
// at too.
package secrets

import (
	"strings"

	"mcp-sidecar/guards"
)

// Name is the guard's name in configuration, findings and audit records.
const Name = "secrets"

// Guard redacts secrets in everything that leaves towards the client. Trusted
// texts are no exception: an operator vouches for what they say, not for what
// somebody stored in them.
type Guard struct{}

var _ guards.Output = Guard{}

// New returns the guard. It has no state and may be used concurrently.
func New() Guard { return Guard{} }

// Name implements [guards.Output].
func (Guard) Name() string { return Name }

// Find implements [guards.Output]. A value in structured content is read together
// with the member that holds it: "hunter22" says nothing, a password does.
func (Guard) Find(t guards.Text) []guards.Finding {
	found := find(t.Value, t.Own, t.Except)
	if len(found) > 0 || t.Value == "" || !tellingMember(t.Member) {
		return found
	}
	prefix := `"` + t.Member + `": "`
	found = find(prefix+t.Value+`"`, nil, t.Except)
	if len(found) != 1 || found[0].Start != len(prefix) || found[0].End > len(prefix)+len(t.Value) {
		return nil
	}
	found[0].Start -= len(prefix)
	found[0].End -= len(prefix)
	return found
}

// tellingMember says whether a member's name announces a secret.
func tellingMember(name string) bool {
	if len(name) < 3 || len(name) > maxName {
		return false
	}
	name = strings.ToLower(name)
	for _, words := range [...][]string{passwordWords, keyWords} {
		for _, w := range words {
			if strings.Contains(name, w) {
				return true
			}
		}
	}
	return false
}

// Change implements [guards.Output]: it redacts what was found.
func (Guard) Change(t guards.Text, found []guards.Finding) string {
	return splice(t.Value, found)
}

// Redact returns s with every secret replaced, and what was found. The result
// holds nothing that Redact would find again. Own are credentials of the program
// itself.
func Redact(s string, own ...string) (string, []guards.Finding) {
	found := Find(s, own...)
	return splice(s, found), found
}

// Find returns the secrets of s, ordered by Start and without overlap. Where
// several rules see the same bytes, one finding covers all of them.
func Find(s string, own ...string) []guards.Finding {
	return find(s, own, nil)
}

func find(s string, own []string, except guards.Except) []guards.Finding {
	c := scanner{text: s, except: except}
	c.scan()
	c.own(own)
	c.plain = merge(c.seen)
	c.encoded()
	return c.findings()
}

// splice replaces by offsets, never by value: a short secret may occur
// elsewhere as an ordinary word.
func splice(s string, found []guards.Finding) string {
	if len(found) == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 32*len(found))
	done := 0
	for _, f := range found {
		b.WriteString(s[done:f.Start])
		b.WriteString(marker)
		b.WriteString(f.Rule)
		b.WriteByte(']')
		done = f.End
	}
	b.WriteString(s[done:])
	return b.String()
}

// marker opens what stands in place of a secret.
const marker = "[REDACTED:"
