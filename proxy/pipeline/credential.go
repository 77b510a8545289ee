package pipeline

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"mcp-sidecar/proxy/wire"
)

// checkCredential blocks a message that carries its own credential: forwarded, it
// would reach the upstream after all.
func (c *Call) checkCredential() error {
	token, err := c.token()
	if err != nil || c.Msg.Params == wire.Absent {
		return nil // nothing usable was presented, and authentication has judged that
	}
	credential := token.Reveal()
	var forms []string
	for i := c.Msg.Params; i < int(c.Msg.Nodes[c.Msg.Params].Next); i++ {
		for _, text := range [...]string{c.Msg.Text(i), c.Msg.Name(i)} {
			if len(text) < len(credential) {
				continue // every form is at least as long
			}
			if forms == nil {
				forms = credentialForms(credential)
			}
			if slices.ContainsFunc(forms, func(f string) bool { return strings.Contains(text, f) }) {
				return blocked("credential", "credential-in-argument", "blocked: the message contains the credential it was sent with (credential-in-argument)")
			}
		}
	}
	return nil
}

// credentialForms returns what a text that carries credential contains: the
// credential as it is, percent-encoded, or inside Base64. The outer characters
// of a Base64 text depend on what stands around the credential; what is in
// between does not, for each of the three ways in which it can be aligned.
func credentialForms(credential string) []string {
	forms := []string{credential}
	if escaped := url.QueryEscape(credential); escaped != credential {
		forms = append(forms, escaped)
	}
	for shift := range min(3, len(credential)) {
		inner := credential[shift:]
		inner = inner[:len(inner)/3*3]
		if len(inner) < 12 {
			continue // too short to mean anything
		}
		forms = append(forms, base64.RawStdEncoding.EncodeToString([]byte(inner)))
		if safe := base64.RawURLEncoding.EncodeToString([]byte(inner)); safe != forms[len(forms)-1] {
			forms = append(forms, safe)
		}
	}
	return forms
}
