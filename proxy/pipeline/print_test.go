package pipeline

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
	"mcp-sidecar/scenarios/canary"
)

// A call that has been decided holds no credential in plain but in the bytes of its
// message, and shows none wherever it is printed: not the caller's, wherever that
// stood, and not the sidecar's own.
func TestNothingPrintsACredential(t *testing.T) {
	const header, query, inBody, own = "CANARY7OF9A2HEADER", "CANARY7OF9A2QUERY", "CANARY7OF9A2BODY", "THE7SIDECARS9OWN" // begins differently: the upstream is shown it
	secrets := []string{header, query, inBody, own}
	stored, err := identity.NewStored(identity.StoredOptions{Value: identity.NewSecret(own)})
	if err != nil {
		t.Fatal(err)
	}
	build := func() *world {
		return pipeWorld(t, func(o *Options) {
			o.Delegated = map[string]bool{"docs": true}
			o.SealKey = identity.Hide([]byte(own))
			o.Arguments = map[string]Argument{"docs": {Name: "key", Value: func(ctx context.Context) (identity.Credential, error) { return stored.Current(ctx, nil) }}}
			o.Authenticator = authenticatorFunc(func(s identity.Secret) (identity.Principal, error) {
				if !slices.Contains(secrets, s.Reveal()) {
					return identity.Principal{}, identity.ErrInvalid
				}
				return identity.Principal{Issuer: "idp", Subject: "alice", TokenID: s}, nil
			})
			next := o.Upstream
			o.Upstream = upstreamFunc(func(ctx context.Context, x wire.Exchange, s wire.Sink) error {
				if !bytes.Contains(x.Body, []byte(reservedID)) {
					return next.Do(ctx, x, s)
				}
				if err := s.Reply(wire.Reply{Status: 200}); err != nil {
					return pass(err)
				}
				return pass(s.Message(wire.Event{Data: []byte(`{"jsonrpc":"2.0","id":` + reservedID + `,"result":{"tools":[{"name":"read","inputSchema":{"type":"object","properties":{"x":{"type":"string"},"key":{"type":"string"}}}}]}}`)}))
			})
		})
	}
	const longArgument = `"arguments":{"x":"a text that is longer than any credential here"}`
	inHeader := line(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read",` + longArgument + `,"_meta":{` + modernMeta + `}}}`)
	inHeader.Head.Authorization = identity.NewSecrets("Bearer " + header)
	several := line(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read",` + longArgument + `,"_meta":{` + modernMeta + `}}}`)
	several.Head.Authorization, several.Head.QueryTokens = identity.NewSecrets("Bearer "+header, "Basic "+header), identity.NewSecrets(query)
	inMeta := line(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read",` + longArgument + `,"_meta":{"mcp-sidecar/token":"` + inBody + `",` + modernMeta + `}}}`)
	for name, row := range map[string]struct {
		c    *Call
		want Outcome
	}{
		"in the header": {inHeader, Allowed},
		"several":       {several, AuthFailed},
		"in the body":   {inMeta, Allowed},
	} {
		w := build()
		hidden := append(slices.Clone(secrets), string(w.pipe.events.key.Reveal()))
		if k := w.handle(row.c); k.answer.Outcome != row.want {
			t.Fatalf("%s: %+v %s", name, k.answer, k.answer.Body)
		}
		if row.want == Allowed && (row.c.forms.Reveal() == nil || row.c.delegation == nil || !bytes.Contains(row.c.request, []byte(own))) {
			t.Errorf("%s: not everything is filled in", name)
		}
		if held := canary.Held(row.c, hidden, "pipeline.Call.Msg", "pipeline.Call.head", "pipeline.Call.request"); held != nil {
			t.Errorf("%s: in plain in %q", name, held)
		}
		for what, v := range map[string]any{"call": row.c, "head": row.c.Head, "pointer to the head": &row.c.Head, "in a struct": struct{ Call *Call }{row.c}, "seal key": w.pipe.opts.SealKey, "event key": &w.pipe.events, "keys": struct{ events eventKey }{w.pipe.events}} {
			if text := canary.Print(v); len(canary.Shows(text, hidden...)) > 0 {
				t.Errorf("%s, %s is printed:\n%s", name, what, text)
			}
		}
	}
}
