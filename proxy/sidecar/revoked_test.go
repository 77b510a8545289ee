package sidecar

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/scenarios/issuer"
)

// withList lists revoked tokens in a file that is empty at first.
func withList(cfg *config.Config) {
	cfg.Auth.RevokedFile = filepath.Join(cfg.StateDir, "revoked")
	if err := os.WriteFile(cfg.Auth.RevokedFile, nil, 0o600); err != nil {
		panic(err)
	}
}

// revoke makes the list these lines, and lets the sidecar look at it.
func (r *rig) revoke(lines ...string) {
	r.t.Helper()
	if err := os.WriteFile(r.sidecar.cfg.Auth.RevokedFile, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.sidecar.verifiers.Revoked.Look()
}

// tokenID is the id of a signed token, as its issuer wrote it.
func tokenID(t *testing.T, token string) string {
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	var claims struct {
		ID string `json:"jti"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.ID == "" {
		t.Fatalf("no id in %s", payload)
	}
	return claims.ID
}

var tokenRevoked = unauthorized("token revoked", "token revoked")

// A token that the operator takes back is refused with the next message, whatever
// it is, in the middle of a session, and although the verifier remembers it as good.
func TestRevokedTokens(t *testing.T) {
	t.Parallel()
	signed := func(r *rig) string { return r.signed(nil, members{"sub": "alice", "client_id": "cli"}) }
	opaque := func(r *rig) string {
		return r.mint("one of alice's", issuer.Claims{Subject: "alice", Scopes: allScopes})
	}
	for _, row := range []struct {
		name  string
		token func(r *rig) string
		entry func(r *rig, token string) string
		other bool // another token of hers, issued later, is revoked as well
	}{
		{"signed, by hash", signed, func(_ *rig, token string) string { return "sha256:" + hashOf(token) }, false},
		{"signed, by id", signed, func(r *rig, token string) string { return "jti:" + r.issuerURL + " " + tokenID(t, token) }, false},
		{"signed, by subject", signed, func(r *rig, _ string) string { return "sub:" + r.issuerURL + " alice" }, true},
		{"signed, by subject and time", signed, func(r *rig, _ string) string {
			return "sub:" + r.issuerURL + " alice before=" + r.clock.Now().Format(time.RFC3339)
		}, false},
		{"opaque, by hash", opaque, func(_ *rig, token string) string { return "sha256:" + hashOf(token) }, false},
		{"opaque, by subject", opaque, func(r *rig, _ string) string { return "sub:" + r.issuerURL + " alice" }, true},
		{"opaque, by subject, at an unknown time", opaque, func(r *rig, _ string) string { return "sub:" + r.issuerURL + " alice before=2000-01-01T00:00:00Z" }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := setup{inventory: demoInventory, upstream: stateful(), change: func(cfg *config.Config) {
				if strings.HasPrefix(row.name, "signed") {
					signedOnly(cfg)
				}
				withList(cfg)
			}}
			r := start(t, s)
			token := row.token(r)
			r.tokens["alice"] = token
			session := r.initialize("alice")
			call := func(token, id string) ask {
				return toolCall(legacy, token, id, "read_document", `{"id":1}`).in(session)
			}
			if g := r.do(call(token, "1")); !bytes.Contains(g.body, []byte("done")) {
				t.Fatalf("before: %d %s", g.status, g.body)
			}
			entry := row.entry(r, token)
			r.clock.advance(time.Minute)
			later := row.token(r)
			r.revoke("# "+row.name, entry)
			for name, message := range map[string]ask{
				"call":         call(token, "7"),
				"modern call":  toolCall(modern, token, "7", "read_document", `{"id":1}`),
				"list":         request(legacy, token, "7", "tools/list", "").in(session),
				"ping":         request(legacy, token, "7", "ping", "").in(session),
				"initialize":   request(legacy, token, "7", "initialize", initParams),
				"large call":   padded(80<<10, 0)(r, legacy, "7").with("Authorization", "Bearer "+token),
				"notification": notify(legacy, token, "notifications/initialized", "").in(session),
				"stream":       getOf(token, session, ""),
				"end":          endOf(token, session),
			} {
				id, want := "7", tokenRevoked
				if name == "notification" || name == "stream" || name == "end" {
					want = want.withID("null")
				}
				t.Run(name, func(t *testing.T) {
					r.denied(t, denial{ask: func(*rig, string, string) ask { return message }, refusal: want}, legacy, id)
				})
			}
			if g := r.do(call(later, "8")); (g.status == http.StatusUnauthorized) != row.other {
				t.Errorf("a later token: %d %s", g.status, g.body)
			}
			if r.sidecar.cfg.Auth.JWT != nil {
				r.tokens["bob"] = r.signed(nil, members{"sub": "bob"})
			}
			if g := r.do(toolCall(modern, r.token("bob"), "9", "read_document", `{"id":1}`)); !bytes.Contains(g.body, []byte("done")) {
				t.Errorf("bob: %d %s", g.status, g.body)
			}
			r.revoke("# nobody")
			r.revoke("# nobody")
			if g := r.do(call(token, "10")); !bytes.Contains(g.body, []byte("done")) {
				t.Errorf("taken off the list: %d %s", g.status, g.body)
			}
		})
	}
}

// A static token is in the operator's own file; the list counts all the same.
func TestRevokedStaticToken(t *testing.T) {
	t.Parallel()
	const token = "static-token-of-alice"
	world := staticOnly()
	tokens := world.change
	world.inventory, world.upstream = demoInventory, text("done")
	world.change = func(cfg *config.Config) { tokens(cfg); withList(cfg) }
	r := start(t, world)
	for _, entry := range []string{"sha256:" + hashOf(token), "sub:" + identity.StaticIssuer + " alice", "sub:" + identity.StaticIssuer + " alice before=2026-01-01T00:00:00Z"} {
		r.revoke()
		r.revoke()
		r.expect("before "+entry, token, 200)
		r.revoke(entry)
		r.expect(entry, token, 401)
	}
	if text := r.stderr.String(); strings.Contains(text, "not configured") {
		t.Errorf("%s", text)
	}
}

// Streams of whoever is revoked end when the list is looked at, whichever of his
// tokens has opened them; others' go on.
func TestStreamsOfTheRevokedEnd(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"opaque", "signed"} {
		t.Run(kind, func(t *testing.T) {
			up := newStreaming()
			r := start(t, setup{inventory: demoInventory, upstream: up.ServeHTTP, recheck: often, change: func(cfg *config.Config) {
				if kind == "signed" {
					signedOnly(cfg)
				}
				withList(cfg)
			}})
			if kind == "signed" {
				r.tokens["alice"], r.tokens["bob"] = r.signed(nil, nil), r.signed(nil, members{"sub": "bob"})
			}
			hers, _ := r.listen(t, "alice", r.initialize("alice"), "")
			his, _ := r.listen(t, "bob", r.initialize("bob"), "")
			r.rewrite(r.sidecar.cfg.Auth.RevokedFile, "sub:"+r.issuerURL+" alice\n") // nobody tells the sidecar to look
			if last := ends(t, hers); last != "" {
				t.Errorf("%s", last)
			}
			r.reasoned("token-revoked")
			feed, _ := up.feed(1)
			feed <- data("s1", `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
			if ev := next(t, his); !strings.Contains(string(ev.Data), "list_changed") {
				t.Errorf("%s", ev.Data)
			}
		})
	}
}

// Over a pipe each message is verified as well, wherever its token stands.
func TestRevokedOverPipe(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"environment", "_meta", "argument"} {
		t.Run(way, func(t *testing.T) {
			p := &pipe{}
			if way == "environment" {
				p.tokenFile = filepath.Join(t.TempDir(), "token")
				if err := os.WriteFile(p.tokenFile, []byte("FORGEDFORGEDFORGEDFORGEDFO"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := start(t, setup{pipe: p, inventory: demoInventory, upstream: text("done"), change: func(cfg *config.Config) {
				withList(cfg)
				tokensInArguments(cfg)
			}})
			call := piped(modern, "tools/call", `"name":"read_document","arguments":{"id":7}`, "")
			switch way {
			case "environment":
				if err := os.WriteFile(p.tokenFile, []byte(r.token("alice")), 0o600); err != nil {
					t.Fatal(err)
				}
			case "_meta":
				call = piped(modern, "tools/call", `"name":"read_document","arguments":{"id":7}`, r.token("alice"))
			case "argument":
				call = piped(modern, "tools/call", `"name":"read_document","arguments":{"id":7,"token":"`+r.token("alice")+`"}`, "")
			}
			if got := p.say(call); !strings.Contains(got, "done") {
				t.Fatalf("before: %s", got)
			}
			touched := r.touched()
			r.revoke("sub:" + r.issuerURL + " alice")
			if got := p.say(call); !strings.Contains(got, `"text":"authentication failed: token revoked"`) || r.touched() != touched {
				t.Errorf("%s", got)
			}
		})
	}
}

// A list that cannot be used any more stays in force; the log and the probes say so.
// After five minutes nobody is let in.
func TestRevokedFileFails(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done"), extra: "diagnostics: { listen: 127.0.0.1:0 }\n", change: withList, recheck: time.Hour})
	r.revoke("sub:" + r.issuerURL + " bob")
	step := func(name, list string, after time.Duration, ready int, says string, alice int) {
		t.Helper()
		r.clock.advance(after)
		r.revoke(list)
		code, state := r.probe(ReadyPath)
		if code != ready || !strings.Contains(state, says) {
			t.Errorf("%s: ready %d %s, want %d and %s", name, code, state, ready, says)
		}
		r.expect(name+", alice", r.mint("alice, "+name, issuer.Claims{Subject: "alice", Scopes: allScopes}), alice)
		r.expect(name+", bob", r.mint("bob, "+name, issuer.Claims{Subject: "bob", Scopes: allScopes}), 401)
	}
	bob := "sub:" + r.issuerURL + " bob"
	step("good", bob, 0, 200, `{"name":"revoked tokens","ok":true}`, 200)
	const ignored = `{"name":"revoked tokens","ok":false,"why":"the list cannot be used; what it said before is in force"}`
	step("bad", "user:carol", 0, 200, ignored, 200)
	step("bad for a while", "user:carol", identity.RevokedPatience-time.Second, 200, ignored, 200)
	step("bad for too long", "user:carol", time.Second, 503, `{"name":"revoked tokens","ok":false,"why":"the list has not been readable for so long that nobody is let in"}`, 503)
	step("good again", bob, 0, 200, `{"name":"revoked tokens","ok":true}`, 200)
	if text := r.stderr.String(); strings.Count(text, "the list of revoked tokens cannot be used") != 1 || !strings.Contains(text, "can be read again") {
		t.Errorf("%s", text)
	}
	var b strings.Builder
	r.sidecar.Summary(&b)
	if !strings.Contains(b.String(), "revoked, 1 entries, read again every") {
		t.Errorf("%s", b.String())
	}
}

// At the start there is no list before, so it has to be good.
func TestRevokedFileAtStart(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	for name, prepare := range map[string]func(file string) error{
		"missing":            os.Remove,
		"nonsense":           func(file string) error { return os.WriteFile(file, []byte("alice\n"), 0o600) },
		"others may write":   func(file string) error { return os.Chmod(file, 0o666) },
		"larger than 16 MiB": func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte("\n"), 16<<20+1), 0o600) },
	} {
		cfg := r.config(setup{change: withList})
		if err := prepare(cfg.Auth.RevokedFile); err != nil {
			t.Fatal(err)
		}
		s, err := New(cfg, Options{})
		if s != nil || !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "auth.revoked_file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
