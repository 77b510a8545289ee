package pipeline

import (
	"encoding/base64"
	"slices"
	"strings"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// metaToken is where a message names its own credential when several users share
// a pipe.
const metaToken = ours + "token"

// findCarrier looks for a token in the message's metadata. It is a carrier over
// stdio only, and only when no other one is there: which of two counts would be
// a guess.
func (c *Call) findCarrier() error {
	m := c.Msg
	at := m.At(m.Params, "_meta", metaToken)
	if m.Kind == wire.Response {
		at = m.At(m.Result, "_meta", metaToken)
	}
	if at == wire.Absent {
		return nil
	}
	c.carrier = at
	if token := m.Text(at); len(token) >= shortestToken {
		c.presented = token
	}
	switch {
	case c.Transport != Stdio:
		return authFailed(&identity.Refusal{Public: "a token in _meta is accepted over stdio only", Description: "unknown or invalid token"})
	case len(c.Head.Authorization) > 0:
		return authFailed(&identity.Refusal{Public: "two tokens were presented; send one", Description: "unknown or invalid token"})
	}
	return nil
}

// stripCarrier takes the token out of what is forwarded.
func (c *Call) stripCarrier() []wire.Patch {
	if c.carrier == 0 {
		return nil
	}
	m := c.Msg
	meta := m.At(m.Params, "_meta")
	if m.Kind == wire.Response {
		meta = m.At(m.Result, "_meta")
	}
	return m.Edit(meta, func(i int) bool { return i == c.carrier })
}

// checkCredential blocks a message that carries its own credential in its body:
// forwarded, it would reach the upstream after all.
func (c *Call) checkCredential() error {
	if c.Msg == nil {
		return nil
	}
	for i := range c.Msg.Nodes {
		if c.carrier != 0 && i == c.carrier {
			continue // where it belongs; it is stripped
		}
		if c.carries(c.Msg.Text(i)) || c.carries(c.Msg.Name(i)) {
			return blocked("credential", "credential-in-argument", "blocked: the message contains the credential it was sent with (credential-in-argument)")
		}
	}
	return nil
}

// carries says whether text contains the credential that was presented: as it
// is, percent-encoded, or inside Base64.
func (c *Call) carries(text string) bool {
	if c.presented == "" || len(text) < len(c.presented) {
		return false // every form is at least as long
	}
	if c.forms == nil {
		c.forms = credentialForms(c.presented)
	}
	contains := func(form string) bool { return strings.Contains(text, form) }
	if slices.ContainsFunc(c.forms, contains) {
		return true
	}
	if percentEncoded(text) {
		text = percentDecoded(text)
		return slices.ContainsFunc(c.forms, contains)
	}
	return false
}

// percentEncoded says whether there is a %XX in s; a bare % is ordinary prose.
func percentEncoded(s string) bool {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 || i+2 >= len(s) {
			return false
		}
		_, ok := hexDigit(s[i+1])
		_, also := hexDigit(s[i+2])
		if ok && also {
			return true
		}
		s = s[i+1:]
	}
}

// credentialForms returns what a text that carries credential contains. The
// outer characters of a Base64 text depend on what stands around the
// credential; what is in between does not, for each of the three ways in which
// it can be aligned.
func credentialForms(credential string) []string {
	forms := append(make([]string, 0, 7), credential)
	for shift := range min(3, len(credential)) {
		inner := credential[shift:]
		inner = inner[:len(inner)/3*3]
		if len(inner) < 12 {
			continue // too short to mean anything
		}
		form := base64.RawStdEncoding.EncodeToString([]byte(inner))
		forms = append(forms, form)
		if strings.ContainsAny(form, "+/") { // else the other alphabet writes the same
			forms = append(forms, base64.RawURLEncoding.EncodeToString([]byte(inner)))
		}
	}
	return forms
}

// percentDecoded undoes every %XX that is one, whatever its case, and leaves the
// rest: encoders differ in what they escape.
func percentDecoded(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, ok := hexDigit(s[i+1])
			low, also := hexDigit(s[i+2])
			if ok && also {
				b = append(b, high<<4|low)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
