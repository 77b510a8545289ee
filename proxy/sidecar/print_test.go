package sidecar

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/scenarios/canary"
)

// A sidecar that has worked keeps no secret in plain, and prints none: neither those
// it was given nor those that passed through it.
func TestNothingPrintsASecret(t *testing.T) {
	const fromEnvironment, sealKey, clientSecret, used, pipeToken = "CANARY7OF9A2VALUE", "CANARY7OF9A2SEALKEY-of-32-characters", "CANARY7OF9A2CLIENT", "CANARY7OF9A2COMMAND", "CANARY7OF9A2PIPE"
	t.Setenv("SIDECAR_DOCS_KEY", fromEnvironment)
	t.Setenv("KEY_OF_A_COMMAND", used)
	secretFile := func(c *config.Config, name, text string) string {
		path := c.Resolve(name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Base(path)
	}
	sealed := func(c *config.Config) { c.SealKeyFile = secretFile(c, "seal.key", sealKey) }
	for name, start := range map[string]func(t *testing.T) (*rig, []string){
		"a credential of its own": func(t *testing.T) (*rig, []string) {
			r := start(t, setup{credential: `{ kind: header, header: X-Api-Key, value_env: SIDECAR_DOCS_KEY }`, inventory: demoInventory, upstream: text("done"), change: sealed})
			token := r.token("alice")
			for _, rev := range bothRevisions {
				if g := r.do(toolCall(rev, token, "1", "read_document", `{"id":1}`)); g.status != http.StatusOK {
					t.Fatalf("%s: %d %s", rev, g.status, g.body)
				}
			}
			return r, []string{token, fromEnvironment, sealKey, introspectionSecret, used}
		},
		"a third party's": func(t *testing.T) (*rig, []string) {
			var p *party
			b := startBrokered(t, whose(&p), func(c *config.Config) {
				sealed(c)
				c.Broker.Clients = append(c.Broker.Clients, config.BrokerClient{ID: "server", RedirectURIs: []string{"https://client.example/"}, SecretFile: secretFile(c, "client.secret", clientSecret)})
			})
			p = b.party
			access, refresh := b.signIn(t, "alice", "documents:read")
			if g := b.do(toolCall(modern, access, "1", "read_document", `{"id":1}`)); g.status != http.StatusOK {
				t.Fatalf("%d %s", g.status, g.body)
			}
			return b.rig, []string{access, refresh, b.party.last(), clientSecret, sealKey, used}
		},
	} {
		r, secrets := start(t)
		r.stop() // nothing changes from here on, but for the audit file's timer
		s := r.sidecar
		s.audit = nil
		s.opts.Token = identity.NewSecret(pipeToken)
		secrets = append(secrets, pipeToken)
		if held := canary.Held(s, secrets); held != nil {
			t.Errorf("%s: in plain in %q", name, held)
		}
		for what, v := range map[string]any{"sidecar": s, "own secrets": &s.own, "options": s.opts, "configuration": s.cfg, "stored": s.stored, "broker": s.broker, "endpoint": s.endpoints[0]} {
			if found := canary.Shows(canary.Print(v), secrets...); len(found) > 0 {
				t.Errorf("%s: %s is printed with %q", name, what, found)
			}
		}
		if len(s.own.list()) == 0 {
			t.Errorf("%s: nothing was learnt", name)
		}
	}
}
