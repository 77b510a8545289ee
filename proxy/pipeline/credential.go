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

// Refusals of what carries a token.
var (
	errTwoTokens = &identity.Refusal{Public: "two tokens were presented; send one", Description: "unknown or invalid token"}
	errMetaToken = &identity.Refusal{Public: "a token in _meta is accepted over stdio only", Description: "unknown or invalid token"}
	errOwnToken  = &identity.Refusal{Public: "the tool has an argument of this name itself; send the token another way", Description: "unknown or invalid token"}
)

// findCarriers looks for tokens in the message itself. Which of two counts would
// be a guess, so the second is refused.
func (p *Pipeline) findCarriers(c *Call) {
	c.findMetaToken()
	p.findTokenArgument(c)
}

// findMetaToken looks for a token in the message's metadata. It is a carrier over
// stdio only.
func (c *Call) findMetaToken() {
	m := c.Msg
	at := m.At(m.Params, "_meta", metaToken)
	if m.Kind == wire.Response {
		at = m.At(m.Result, "_meta", metaToken)
	}
	if at == wire.Absent {
		return
	}
	c.carrier = at
	c.present(m.Text(at))
	switch {
	case c.Transport != Stdio:
		c.doubt = errMetaToken
	case c.Head.Authorization.Len() > 0:
		c.doubt = errTwoTokens
	}
}

// findTokenArgument looks for a token in a tool call's arguments, where the
// operator has opened that way. Beside another carrier it is one too many, unless
// the tool has an argument of this name itself. Only its definition tells, which
// the upstream is not asked for before somebody is authenticated: see
// judgeArgument.
func (p *Pipeline) findTokenArgument(c *Call) {
	m := c.Msg
	if p.opts.Token.Name == "" || m.Kind != wire.Request || m.Method != "tools/call" {
		return
	}
	at := m.At(m.Params, "arguments", p.opts.Token.Name)
	if at == wire.Absent {
		return
	}
	c.argument = at
	if c.tokens().Len() == 0 {
		c.carrier = at
		c.present(m.Text(at))
	}
}

// judgeArgument says what an argument that is called like the token is, now that
// the tool is known: one that the tool has itself is none of ours, and no other
// tool gets to see one.
func (p *Pipeline) judgeArgument(c *Call) error {
	name := p.opts.Token.Name
	if name == "" {
		return nil
	}
	carried := c.argument != 0 && c.carrier == c.argument
	switch own := c.tool.keeps(name); {
	case own && carried:
		c.Stage = "authenticate"
		return authFailed(errOwnToken)
	case own:
		return c.checkOwnArgument()
	case c.argument != 0 && !carried:
		c.Stage = "authenticate"
		c.present(c.Msg.Text(c.argument))
		return authFailed(errTwoTokens)
	}
	if refusal := c.ambiguous(name); refusal != nil {
		return refusal // left in place, a token under another spelling would travel on
	}
	return nil
}

// checkOwnArgument looks for the credential in an argument that is the tool's own:
// checkCredential has left it to who knows what it is.
func (c *Call) checkOwnArgument() error {
	if c.argument != 0 && c.holdsCredential(c.argument, int(c.Msg.Nodes[c.argument].Next)) {
		return errCredentialInMessage()
	}
	return nil
}

// keeps says whether an argument called name is the tool's own, in any spelling,
// or may be: a schema that is no plain one can declare it in many places.
func (t toolInfo) keeps(name string) bool {
	for own := range t.own {
		if own == name || wire.FoldsTo(own, name) {
			return true
		}
	}
	return t.known && !t.plain
}

// argumentsWithoutToken are the arguments as they came, without the caller's
// token: it may be another one in the next call of the same kind.
func (c *Call) argumentsWithoutToken() []byte {
	m := c.Msg
	args := m.Member(m.Params, "arguments")
	if c.carrier == 0 || c.carrier != c.argument {
		return m.Value(args)
	}
	fields := make([]wire.Field, 0, 8)
	for i := range m.Children(args) {
		if i != c.carrier {
			fields = append(fields, wire.Field{Name: m.Name(i), Value: m.Value(i)})
		}
	}
	return object(fields)
}

// stripMetaToken takes a token in the metadata out of what is forwarded.
func (c *Call) stripMetaToken() []wire.Patch {
	if c.carrier == 0 || c.carrier == c.argument {
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
	until := len(c.Msg.Nodes)
	if c.argument != 0 {
		// It stands in its place, or is to be judged with its tool.
		if c.holdsCredential(int(c.Msg.Nodes[c.argument].Next), until) {
			return errCredentialInMessage()
		}
		until = c.argument
	}
	if c.holdsCredential(0, until) {
		return errCredentialInMessage()
	}
	return nil
}

func errCredentialInMessage() *Rejection {
	return blocked("credential", "credential-in-argument", "blocked: the message contains the credential it was sent with (credential-in-argument)")
}

// holdsCredential says whether a value or a name of the nodes in front of until
// contains a credential that was presented.
func (c *Call) holdsCredential(from, until int) bool {
	for i := from; i < until; i++ {
		if c.carrier != 0 && i == c.carrier {
			continue // where it belongs; it is stripped
		}
		if c.carries(c.Msg.Text(i)) || c.carries(c.Msg.Name(i)) {
			return true
		}
	}
	return false
}

// carries says whether text contains a credential that was presented: as it is,
// percent-encoded, or inside Base64.
func (c *Call) carries(text string) bool {
	if !c.presentedWithin(len(text)) {
		return false // every form is at least as long
	}
	forms := c.forms.Reveal()
	if forms == nil {
		for i := range c.presented.Len() {
			forms = appendForms(forms, c.presented.At(i).Reveal())
		}
		c.forms = identity.Hide(forms)
	}
	contains := func(form string) bool { return strings.Contains(text, form) }
	if slices.ContainsFunc(forms, contains) {
		return true
	}
	if percentEncoded(text) {
		text = percentDecoded(text)
		return slices.ContainsFunc(forms, contains)
	}
	return false
}

// presentedWithin says whether a credential of at most n bytes was presented.
func (c *Call) presentedWithin(n int) bool {
	for i := range c.presented.Len() {
		if len(c.presented.At(i).Reveal()) <= n {
			return true
		}
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

// appendForms appends what a text that carries credential contains. The
// outer characters of a Base64 text depend on what stands around the
// credential; what is in between does not, for each of the three ways in which
// it can be aligned.
func appendForms(forms []string, credential string) []string {
	forms = append(slices.Grow(forms, 7), credential)
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
