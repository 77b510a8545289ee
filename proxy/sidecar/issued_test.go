package sidecar

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/scenarios/issuer"
)

const (
	clientSecret = "cL7+wQ2/xR9=kT4vN8"
	granting     = `{ kind: client_credentials, token_url: "$ISSUER/token", allow_loopback_http: true, client_id: sidecar, client_secret_file: client.secret, audience: docs-api, scopes: [docs] }`
	exchanging   = `{ kind: token_exchange, token_url: "$ISSUER/token", allow_loopback_http: true, client_id: sidecar, client_secret_file: client.secret, audience: docs-api }`
)

// asClient makes the demo issuer know the sidecar as a client, and s the secret.
func asClient(t testing.TB, s setup) *rig {
	t.Helper()
	if s.files == nil {
		s.files = map[string]string{}
	}
	if _, given := s.files["client.secret"]; !given {
		s.files["client.secret"] = clientSecret
	}
	r := start(t, s)
	r.own = append(r.own, clientSecret)
	r.issuer.AddClient(issuer.Client{ID: "sidecar", Secret: clientSecret, Scopes: []string{"docs"}})
	return r
}

// claimed is what a token that the issuer signed says.
type claimed struct {
	Subject  string          `json:"sub"`
	ClientID string          `json:"client_id"`
	Audience json.RawMessage `json:"aud"`
	Actor    struct {
		Subject string `json:"sub"`
	} `json:"act"`
}

// claimsOf reads the token in a header. Nothing is verified: the issuer is ours.
func claimsOf(header http.Header) (c claimed) {
	parts := strings.Split(strings.TrimPrefix(header.Get("Authorization"), "Bearer "), ".")
	if len(parts) == 3 {
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(payload, &c)
	}
	return c
}

// perCaller answers as the caller named in the token that is shown.
func perCaller(answer func(who string) http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { answer(claimsOf(r.Header).Subject)(w, r) }
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	r := asClient(t, setup{credential: granting, inventory: demoInventory, upstream: perCaller(func(who string) http.HandlerFunc { return text("for " + who) })})
	for _, rev := range bothRevisions {
		for _, who := range []string{"alice", "bob"} {
			if g := r.do(toolCall(rev, r.token(who), "1", "read_document", `{"id":1}`)); g.status != http.StatusOK || !strings.Contains(string(g.body), "for sidecar") {
				t.Errorf("%d %s\n%s", g.status, g.body, r.stderr)
			}
		}
	}
	shown := r.up.shown("Authorization")
	c := claimsOf(r.up.last().header)
	if len(shown) != 1 || c.ClientID != "sidecar" || string(c.Audience) != `"docs-api"` && string(c.Audience) != `["docs-api"]` {
		t.Errorf("%d tokens, the last says %+v", len(shown), c)
	}
	// Half a minute before its end the next one is asked for.
	r.clock.advance(5*time.Minute - 30*time.Second)
	r.do(toolCall(modern, r.token("alice"), "1", "read_document", `{"id":1}`))
	if again := r.up.shown("Authorization"); len(again) != 2 {
		t.Errorf("%d tokens", len(again))
	}
	// What the server repeats of them reaches nobody.
	r.up.answerWith(func(w http.ResponseWriter, req *http.Request) { text(req.Header.Get("Authorization"))(w, req) })
	g := r.do(toolCall(modern, r.token("alice"), "1", "read_document", `{"id":1}`))
	if token := strings.TrimPrefix(r.up.last().header.Get("Authorization"), "Bearer "); strings.Contains(string(g.body), token) || !strings.Contains(string(g.body), "[REDACTED:") {
		t.Errorf("%s", g.body)
	}
}

// A client may prove who it is with a key.
func TestClientCredentialsWithKey(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := asClient(t, setup{
		credential: strings.Replace(granting, "client_secret_file: client.secret", "client_key_file: client.pem", 1), inventory: demoInventory, upstream: text("done"),
		files: map[string]string{"client.pem": asPEM(key)},
	})
	r.issuer.AddClient(issuer.Client{ID: "sidecar", Key: key.Public(), Scopes: []string{"docs"}})
	for _, rev := range bothRevisions {
		if g := r.do(toolCall(rev, r.token("alice"), "1", "read_document", `{"id":1}`)); g.status != http.StatusOK || claimsOf(r.up.last().header).Subject != "sidecar" {
			t.Errorf("%d %s\n%s", g.status, g.body, r.stderr)
		}
	}
}

// asPEM is key as the sidecar reads it.
func asPEM(key *ecdsa.PrivateKey) string {
	der, _ := x509.MarshalPKCS8PrivateKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// An assertion names its key as the configuration does: a token endpoint that knows
// several keys of a client finds it so.
func TestAssertionNamesItsKey(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for kind, credential := range map[string]string{"client credentials": granting, "token exchange": exchanging} {
		for said, id := range map[string]string{"": "", ", client_key_id: key-7": "key-7"} {
			asked := make(chan string, 8)
			other := newFakeUpstream(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				asked <- r.PostForm.Get("client_assertion")
				answerJSON(w, 200, `{"access_token":"issued-for-the-server","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","expires_in":300}`)
			}})
			r := asClient(t, setup{
				credential: strings.NewReplacer("$ISSUER", other.server.URL, "client_secret_file: client.secret", "client_key_file: client.pem"+said).Replace(credential),
				inventory:  demoInventory, upstream: text("done"), files: map[string]string{"client.pem": asPEM(key)},
			})
			if g := r.do(toolCall(modern, r.token("alice"), "1", "read_document", `{"id":1}`)); g.status != http.StatusOK {
				t.Fatalf("%s: %d %s\n%s", kind, g.status, g.body, r.stderr)
			}
			first, _, _ := strings.Cut(<-asked, ".")
			raw, _ := base64.RawURLEncoding.DecodeString(first)
			var header map[string]any
			if err := json.Unmarshal(raw, &header); err != nil {
				t.Fatalf("%s: %v: %q", kind, err, raw)
			}
			if kid, present := header["kid"].(string); kid != id || present != (id != "") {
				t.Errorf("%s%s: the assertion's header is %s", kind, said, raw)
			}
		}
	}
}

// A server may be named by its address (RFC 8707): the token says so.
func TestIssuedForResource(t *testing.T) {
	t.Parallel()
	const resource = "https://docs.example/mcp"
	for kind, credential := range map[string]string{"client credentials": granting, "token exchange": exchanging} {
		for _, rev := range bothRevisions {
			t.Run(kind+"/"+rev, func(t *testing.T) {
				t.Parallel()
				r := asClient(t, setup{credential: strings.Replace(credential, "audience: docs-api", `resource: "`+resource+`"`, 1), inventory: demoInventory, upstream: text("done")})
				if g := r.do(toolCall(rev, r.token("alice"), "1", "read_document", `{"id":1}`)); g.status != http.StatusOK || !strings.Contains(string(g.body), "done") {
					t.Errorf("%d %s\n%s", g.status, g.body, r.stderr)
				}
				if aud := string(claimsOf(r.up.last().header).Audience); aud != `"`+resource+`"` && aud != `["`+resource+`"]` {
					t.Errorf("the server was shown a token for %s", aud)
				}
			})
		}
	}
}

// A token endpoint that fails in any way: calls are refused and the server is not
// reached, and service returns within seconds of the repair, without a restart.
func TestTokenEndpointDown(t *testing.T) {
	t.Parallel()
	for kind, credential := range map[string]string{"client credentials": granting, "token exchange": exchanging} {
		for _, fault := range []issuer.Fault{issuer.Down, issuer.Failing, issuer.Garbage, issuer.Huge, issuer.Elsewhere, issuer.Slow} {
			t.Run(kind+"/"+string(fault), func(t *testing.T) {
				t.Parallel()
				patiently(t, fault)
				r := asClient(t, setup{credential: credential})
				r.issuer.Break(issuer.EndpointToken, fault)
				for i, rev := range bothRevisions {
					for _, d := range []denial{
						{name: "call", ask: func(r *rig, rev, id string) ask {
							return toolCall(rev, r.token("alice"), id, "delete_document", `{"id":1,"confirm":true}`)
						}, refusal: noCredential.at("inspect-input")},
						{name: "list", ask: func(r *rig, rev, id string) ask { return request(rev, r.token("alice"), id, "tools/list", "") }, refusal: noCredential},
						{name: "initialize", only: legacy, ask: func(r *rig, rev, id string) ask {
							return request(rev, r.token("alice"), id, "initialize", initParams).with("Mcp-Protocol-Version")
						}, refusal: noCredential},
						{name: "discover", only: modern, ask: func(r *rig, rev, id string) ask { return request(rev, r.token("alice"), id, "server/discover", "") }, refusal: noCredential},
					} {
						if d.only == "" || d.only == rev {
							t.Run(d.name+"/"+rev, func(t *testing.T) { r.denied(t, d, rev, ids[i]) })
						}
					}
				}
				if n := r.up.listed(); n != 0 {
					t.Errorf("listed %d times without a credential", n)
				}
				r.issuer.Repair(issuer.EndpointToken)
				r.up.answerWith(text("done"))
				r.up.listTools(demoInventory)
				r.clock.advance(2 * time.Second)
				if g := r.do(toolCall(modern, r.token("alice"), "1", "read_document", `{"id":1}`)); g.status != http.StatusOK || !strings.Contains(string(g.body), "done") {
					t.Errorf("after the repair: %d %s", g.status, g.body)
				}
			})
		}
	}
}

// What the token endpoint refuses is refused: a wrong secret, which is used as soon
// as it is right, and a caller's token that it does not take.
func TestTokenEndpointRefuses(t *testing.T) {
	t.Parallel()
	r := asClient(t, setup{credential: exchanging, files: map[string]string{"client.secret": "not-yet-the-secret"}})
	r.own = append(r.own, "not-yet-the-secret")
	list := denial{ask: func(r *rig, rev, id string) ask { return request(rev, r.token("alice"), id, "tools/list", "") }, refusal: noCredential}
	for i, rev := range bothRevisions {
		r.denied(t, list, rev, ids[i])
	}
	if !strings.Contains(r.stderr.String(), "invalid_client") {
		t.Errorf("the log does not say why:\n%s", r.stderr)
	}
	r.write("client.secret", clientSecret)
	r.up.answerWith(toolsResult("", demoInventory))
	r.clock.advance(2 * time.Second)
	if g := r.do(request(modern, r.token("alice"), "1", "tools/list", "")); g.status != http.StatusOK {
		t.Errorf("%d %s", g.status, g.body)
	}
	// A token that was withdrawn in the half minute for which introspection is believed.
	r.do(request(modern, r.token("bob"), "1", "tools/list", ""))
	r.clock.advance(29 * time.Second)
	carol := r.token("carol")
	r.issuer.Break(issuer.EndpointToken, issuer.Down)
	r.do(request(modern, carol, "1", "tools/list", ""))
	r.issuer.Repair(issuer.EndpointToken)
	r.issuer.Revoke(carol)
	r.clock.advance(2 * time.Second)
	list.ask = func(_ *rig, rev, id string) ask { return request(rev, carol, id, "tools/list", "") }
	r.denied(t, list, modern, "1")
}

// Each caller is shown by a token of his own, in every message: calls, lists, the
// sidecar's own listing, streams, and the end of a session.
func TestExchange(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		r := asClient(t, setup{credential: exchanging, inventory: demoInventory, upstream: perCaller(func(who string) http.HandlerFunc { return text("for " + who) })})
		for range 2 {
			for _, who := range []string{"alice", "bob"} {
				if g := r.do(toolCall(rev, r.token(who), "1", "read_document", `{"id":1}`)); g.status != http.StatusOK || !strings.Contains(string(g.body), "for "+who) {
					t.Errorf("%d %s\n%s", g.status, g.body, r.stderr)
				}
				c := claimsOf(r.up.last().header)
				if c.Subject != who || c.ClientID != "sidecar" || c.Actor.Subject != "sidecar" || !strings.Contains(string(c.Audience), "docs-api") {
					t.Errorf("%+v", c)
				}
			}
		}
		var listed []string
		for _, l := range r.up.listings() {
			listed = append(listed, claimsOf(l.header).Subject)
		}
		if !slices.Equal(listed, []string{"alice", "bob"}) || len(r.up.shown("Authorization")) < 2 || r.issuer.Counters().Granted != 2 {
			t.Errorf("listed for %q, %d tokens were issued", listed, r.issuer.Counters().Granted)
		}
	}
}

// What a server offers to one caller says nothing of another: neither which tools
// there are nor what they do.
func TestExchangeInventory(t *testing.T) {
	t.Parallel()
	const reads = `[{"name":"update_document","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}]`
	const destroys = `[{"name":"update_document","annotations":{"destructiveHint":true},"inputSchema":{"type":"object"}},{"name":"move_document","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}]`
	lists := perCaller(func(who string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			tools := reads
			if who == "bob" {
				tools = destroys
			}
			body, _ := io.ReadAll(r.Body)
			switch {
			case isInventory(body):
				writeInventory(w, tools)
			case strings.Contains(string(body), "tools/list"):
				answerJSON(w, 200, `{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"public","tools":`+tools+`}}`)
			default:
				answerJSON(w, 200, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}`)
			}
		}
	})
	for _, rev := range bothRevisions {
		for name, ahead := range map[string]bool{"listed by the sidecar": false, "listed by the client": true} {
			t.Run(name+"/"+rev, func(t *testing.T) {
				t.Parallel()
				r := asClient(t, setup{credential: exchanging, upstream: lists})
				call := func(who, tool string) string {
					return string(r.do(toolCall(rev, r.token(who), "1", tool, `{}`)).body)
				}
				if ahead {
					for _, who := range []string{"alice", "bob"} {
						g := r.do(request(rev, r.token(who), "1", "tools/list", ""))
						if rev == modern && !strings.Contains(string(g.body), `"cacheScope":"private"`) {
							t.Errorf("others may keep the list: %s", g.body)
						}
					}
				}
				for _, want := range []struct{ who, tool, says string }{
					{"bob", "move_document", "done"}, {"alice", "update_document", "done"}, {"alice", "move_document", "unknown tool"},
					{"bob", "update_document", "requires explicit confirmation"}, {"alice", "update_document", "done"},
				} {
					if got := call(want.who, want.tool); !strings.Contains(got, want.says) {
						t.Errorf("%s calls %s: %s", want.who, want.tool, got)
					}
				}
			})
		}
	}
}

// Sessions: the stream, a client's answer, the end that a client asks for and the
// one that the sidecar decides are all for the caller whose session it is.
func TestExchangeSessions(t *testing.T) {
	t.Parallel()
	up := newStreaming()
	r := asClient(t, setup{credential: exchanging, inventory: demoInventory, upstream: up.ServeHTTP})
	for n, who := range []string{"alice", "bob"} {
		session := r.initializeWith(who, `"elicitation":{}`)
		stream, _ := r.listen(t, who, session, "")
		feed, _ := up.feed(n)
		feed <- data("e1", `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		next(t, stream)
		if g := r.do(endOf(r.token(who), session)); g.status != http.StatusNoContent {
			t.Errorf("DELETE: %d %s", g.status, g.body)
		}
		verbs := map[string]bool{}
		for _, got := range r.up.seen() {
			if c := claimsOf(got.header); c.Subject == who {
				verbs[got.method] = true
			}
		}
		if !verbs["POST"] || !verbs["GET"] || !verbs["DELETE"] {
			t.Errorf("%s was shown in %v", who, verbs)
		}
	}
	for _, got := range append(r.up.seen(), r.up.listings()...) {
		if claimsOf(got.header).Subject == "" {
			t.Errorf("%s %s was sent for nobody", got.method, got.body)
		}
	}
}

// A session that ends on the sidecar's side is ended at the server as its caller,
// with what was issued for him, as long as that holds.
func TestExchangeExpiredSession(t *testing.T) {
	t.Parallel()
	ended := make(chan string, 4)
	up := stateful()
	r := asClient(t, setup{
		credential: exchanging, inventory: demoInventory, extra: "limits: { sessions_per_principal: 1 }\n", issuer: func(c *issuer.Config) { c.Lifetime = 3 * time.Hour },
		upstream: func(w http.ResponseWriter, req *http.Request) {
			up(w, req)
			if req.Method == http.MethodDelete {
				ended <- claimsOf(req.Header).Subject
			}
		},
	})
	r.mint("alice", issuer.Claims{Subject: "alice", Scopes: allScopes, Expiry: r.clock.Now().Add(3 * time.Hour)})
	r.initialize("alice")
	r.clock.advance(2 * time.Minute)
	r.initialize("alice") // the first one makes room
	if got := <-ended; got != "alice" {
		t.Errorf("ended for %q", got)
	}
}

// Several servers, together and apart: each is shown a token for itself, and what
// one caller's lists say of resources says nothing of another's.
func TestExchangeMerged(t *testing.T) {
	t.Parallel()
	resources := func(w http.ResponseWriter, r *http.Request, who string) {
		body, _ := io.ReadAll(r.Body)
		var m struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.Unmarshal(body, &m)
		result := `{"content":[{"type":"text","text":"for ` + who + `"}]}`
		switch m.Method {
		case "tools/list":
			result = `{"tools":` + tokenInventory + `}`
		case "resources/list":
			result = `{"resources":[{"uri":"x://` + who + `","name":"x"}]}`
		case "resources/templates/list":
			result = `{"resourceTemplates":[]}`
		case "resources/read":
			result = `{"contents":[{"uri":"x://` + who + `","text":"of ` + who + `"}]}`
		case "initialize":
			result = `{"protocolVersion":"2025-11-25","capabilities":{"resources":{}},"serverInfo":{"name":"x","version":"1"}}`
		}
		answerJSON(w, 200, `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":`+result+`}`)
	}
	docs := perCaller(func(who string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { resources(w, r, who) }
	})
	nothing := func(w http.ResponseWriter, r *http.Request) {
		answerJSON(w, 200, `{"jsonrpc":"2.0","id":`+idOf(r)+`,"error":{"code":-32601,"message":"none"}}`)
	}
	s := setup{
		credential: exchanging, upstream: docs, extra: "merge: true\n", policy: "p, role:any, *, *, allow\ng, user:alice, role:any\ng, user:bob, role:any\n", tools: "\n  docs/secret: { hide: true }\n",
		locates: true,
		others: map[string]setup{
			"fs":   {upstream: docs, credential: strings.Replace(exchanging, "docs-api", "fs-api", 1)},
			"mail": {upstream: nothing, inventory: "[]"},
		},
	}
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			r := asClient(t, s)
			for _, who := range []string{"alice", "bob"} {
				for server, audience := range map[string]string{"docs": "docs-api", "fs": "fs-api"} {
					for path, tool := range map[string]string{"/" + server + "/mcp": "free", "/mcp": server + ".free"} {
						a := toolCall(rev, r.token(who), "1", tool, `{}`)
						a.path = path
						g := r.do(a)
						if c := claimsOf(r.ups[server].last().header); !strings.Contains(string(g.body), "for "+who) || c.Subject != who || !strings.Contains(string(c.Audience), audience) {
							t.Errorf("%s at %s: %d %s, shown %+v", who, path, g.status, g.body, c)
						}
					}
				}
			}
			read := func(who, uri string) got {
				a := request(rev, r.token(who), "1", "resources/read", `"uri":"`+uri+`"`)
				if rev == modern {
					a.header.Set("Mcp-Name", uri)
				}
				return r.do(a)
			}
			for _, who := range []string{"alice", "bob"} {
				if g := read(who, "x://"+who); !strings.Contains(string(g.body), "of "+who) {
					t.Errorf("%s reads his own: %d %s", who, g.status, g.body)
				}
			}
			for who, other := range map[string]string{"alice": "bob", "bob": "alice"} {
				if g := read(who, "x://"+other); !strings.Contains(string(g.body), "-32602") {
					t.Errorf("%s reads what is listed to %s: %d %s", who, other, g.status, g.body)
				}
			}
			for _, got := range append(r.ups["mail"].seen(), r.ups["mail"].listings()...) {
				if got.header.Get("Authorization") != "Bearer "+service {
					t.Errorf("mail was shown %q", got.header.Get("Authorization"))
				}
			}
			for _, name := range []string{"docs", "fs"} {
				for _, got := range append(r.ups[name].seen(), r.ups[name].listings()...) {
					if claimsOf(got.header).Subject == "" {
						t.Errorf("%s got %s for nobody", name, got.body)
					}
				}
			}
		})
	}
}

// Several users on one pipe: each message is for the caller whose token stands in it.
// Without one nothing is asked of the server, not even to open.
func TestExchangeOverPipe(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			p := &pipe{}
			s := setup{credential: exchanging, inventory: demoInventory, pipe: p}
			up := stateful()
			s.upstream = func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				if strings.Contains(string(body), "tools/call") {
					text("for "+claimsOf(r.Header).Subject)(w, r)
					return
				}
				up(w, r)
			}
			r := asClient(t, s)
			open := func(token string) string {
				if rev == modern {
					return p.say(piped(rev, discoverFirst, "", token))
				}
				return p.say(piped(rev, "initialize", initParams, token))
			}
			if got := open(""); !strings.Contains(got, `"code":40100`) || len(r.up.seen()) != 0 {
				t.Errorf("opened for nobody: %s", got)
			}
			if got := open(r.token("alice")); !strings.Contains(got, `"result"`) {
				t.Fatalf("%s\n%s", got, r.stderr)
			}
			if got := p.say(piped(rev, "tools/call", readSeven, r.token("alice"))); !strings.Contains(got, "for alice") {
				t.Errorf("%s\n%s", got, r.stderr)
			}
			if rev == modern {
				if got := p.say(piped(rev, "tools/call", readSeven, r.token("bob"))); !strings.Contains(got, "for bob") {
					t.Errorf("%s\n%s", got, r.stderr)
				}
			}
			r.stop() // the pipe's end is the session's
			for _, got := range append(r.up.seen(), r.up.listings()...) {
				if claimsOf(got.header).Subject == "" {
					t.Errorf("%s %s was sent for nobody", got.method, got.body)
				}
			}
			var ended []string // in whatever order it arrived with the stream that is opened meanwhile
			for _, got := range r.up.seen() {
				if got.method == http.MethodDelete {
					ended = append(ended, claimsOf(got.header).Subject)
				}
			}
			if rev == legacy && !slices.Equal(ended, []string{"alice"}) {
				t.Errorf("the session was ended for %q", ended)
			}
		})
	}
}

// A token that the server takes no longer is replaced once, whoever was refused with
// it; what was issued is echoed to nobody.
func TestExchangeRefusedByServer(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		var mu sync.Mutex
		revoked := map[string]bool{}
		r := asClient(t, setup{credential: exchanging, inventory: demoInventory})
		r.up.answerWith(func(w http.ResponseWriter, req *http.Request) {
			shown := req.Header.Get("Authorization")
			mu.Lock()
			refused := revoked[shown]
			mu.Unlock()
			if refused {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			text("shown "+shown)(w, req)
		})
		call := func() got { return r.do(toolCall(rev, r.token("alice"), "1", "read_document", `{"id":1}`)) }
		g := call()
		first := r.up.last().header.Get("Authorization")
		if token := strings.TrimPrefix(first, "Bearer "); strings.Contains(string(g.body), token) || !strings.Contains(string(g.body), "shown Bearer [REDACTED:") && !strings.Contains(string(g.body), "shown [REDACTED:") {
			t.Errorf("%s", g.body)
		}
		mu.Lock()
		revoked[first] = true
		mu.Unlock()
		r.clock.advance(2 * time.Second)
		before := len(r.up.seen())
		if g := call(); g.status != http.StatusOK || len(r.up.seen())-before != 2 || r.up.last().header.Get("Authorization") == first {
			t.Errorf("%d %s, sent %d times", g.status, g.body, len(r.up.seen())-before)
		}
	}
}

// An opaque token that was issued for a caller is redacted too: nothing but having
// been shown marks it.
func TestExchangeEchoOfOpaqueToken(t *testing.T) {
	t.Parallel()
	for _, preset := range []string{"balanced", "observe"} {
		s := setup{preset: preset, credential: strings.Replace(exchanging, "$ISSUER", "$OTHER", 1), inventory: demoInventory, upstream: text("you showed opaque-token-of-bob and opaque-token-of-alice")}
		names := map[string]string{}
		other := newTokenIssuer(t, func(subject string) string { return "opaque-token-of-" + names[subject] })
		s.credential = strings.Replace(s.credential, "$OTHER", other, 1)
		r := asClient(t, s)
		names[r.token("alice")], names[r.token("bob")] = "alice", "bob"
		for _, who := range []string{"alice", "bob"} {
			g := r.do(toolCall(modern, r.token(who), "1", "read_document", `{"id":1}`))
			if strings.Contains(string(g.body), "opaque-token-of-"+who) || !strings.Contains(string(g.body), "[REDACTED:credential]") {
				t.Errorf("%s: %s", who, g.body)
			}
		}
	}
}

// The caller's own token never comes back from an exchange.
func TestExchangeYieldsTheSameToken(t *testing.T) {
	t.Parallel()
	other := newTokenIssuer(t, func(subject string) string { return subject })
	r := asClient(t, setup{credential: strings.Replace(exchanging, "$ISSUER", other, 1)})
	for i, rev := range bothRevisions {
		r.denied(t, denial{ask: func(r *rig, rev, id string) ask { return request(rev, r.token("alice"), id, "tools/list", "") }, refusal: noCredential}, rev, ids[i])
	}
	if !strings.Contains(r.stderr.String(), "the token is the caller's own") {
		t.Errorf("the log does not say why:\n%s", r.stderr)
	}
}

// newTokenIssuer is a token endpoint that exchanges whatever it is shown.
func newTokenIssuer(t *testing.T, issue func(subject string) string) string {
	t.Helper()
	server := newFakeUpstream(t, setup{upstream: func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		answerJSON(w, 200, fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","expires_in":300}`, issue(r.PostForm.Get("subject_token"))))
	}})
	return server.server.URL
}

// A probe has no caller: a server that answers is ready, also if it wants a token.
func TestExchangeReady(t *testing.T) {
	t.Parallel()
	for status, ready := range map[int]bool{http.StatusUnauthorized: true, http.StatusOK: true, http.StatusBadGateway: false} {
		s := setup{credential: exchanging, upstream: always(status, "application/json", `{}`), extra: "diagnostics: { listen: 127.0.0.1:0 }\n"}
		r := asClient(t, s)
		if got := r.sidecar.readiness(); got.Ready != ready {
			t.Errorf("%d: %+v", status, got)
		}
		if got := r.up.last().header.Get("Authorization"); got != "" {
			t.Errorf("a probe shows %q", got)
		}
		r.up.answerWith(nil)
	}
	// With client credentials it is the sidecar's own token that has to be taken.
	r := asClient(t, setup{credential: granting, upstream: result("")})
	r.issuer.Break(issuer.EndpointToken, issuer.Down)
	if got := r.sidecar.readiness(); got.Ready {
		t.Errorf("ready without a token: %+v", got)
	}
	r.issuer.Repair(issuer.EndpointToken)
	r.clock.advance(2 * time.Second)
	if got := r.sidecar.readiness(); !got.Ready {
		t.Errorf("%+v\n%s", got, r.stderr)
	}
}

// The official client and server, with a token of each caller between sidecar and
// server.
func TestExchangeWithSDK(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			r := asClient(t, setup{credential: exchanging, upstream: sdkServerForAll(t, rev == modern).ServeHTTP})
			for _, who := range []string{"alice", "bob"} {
				_, session, err := r.connect(t, rev, r.token(who), nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := session.ListTools(t.Context(), nil); err != nil {
					t.Error(err)
				}
				res, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read_document", Arguments: map[string]any{"id": 7}})
				if err != nil || res.IsError {
					t.Errorf("%v %+v", err, res)
				}
				if err := session.Close(); err != nil {
					t.Error(err)
				}
			}
			for _, got := range append(r.up.seen(), r.up.listings()...) {
				if c := claimsOf(got.header); c.Subject != "alice" && c.Subject != "bob" {
					t.Errorf("%s %s was sent for %q", got.method, got.body, c.Subject)
				}
			}
		})
	}
}

func TestIssuedRefusedAtStart(t *testing.T) {
	t.Parallel()
	r := start(t, setup{files: map[string]string{"broken.pem": "broken"}})
	for name, c := range map[string]config.Credential{
		"no secret":   {Kind: config.CredentialGranted, TokenURL: "https://idp.example/token", ClientID: "a", ClientSecretFile: "none"},
		"no key":      {Kind: config.CredentialExchanged, TokenURL: "https://idp.example/token", ClientID: "a", ClientKeyFile: "none.pem"},
		"a bad key":   {Kind: config.CredentialExchanged, TokenURL: "https://idp.example/token", ClientID: "a", ClientKeyFile: "broken.pem"},
		"plain http":  {Kind: config.CredentialGranted, TokenURL: "http://idp.example/token", ClientID: "a", ClientSecretFile: "service.token"},
		"no loopback": {Kind: config.CredentialGranted, TokenURL: "http://127.0.0.1/token", ClientID: "a", ClientSecretFile: "service.token"},
	} {
		cfg, err := config.Load(r.dir + "/sidecar.yaml")
		if err != nil {
			t.Fatal(err)
		}
		u := cfg.Upstreams["docs"]
		u.Credential = c
		cfg.Upstreams["docs"] = u
		if s, err := New(cfg, Options{}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "upstreams.docs.credential") {
			t.Errorf("%s: %v", name, err)
			_ = s.Close()
		}
	}
}
