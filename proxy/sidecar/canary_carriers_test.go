package sidecar

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/scenarios/issuer"
)

// bearing is a way in which a caller shows his token, and what verifies it.
type bearing struct {
	name   string
	change func(*config.Config)
	mint   func(r *rig, who string) string // nil: the demo issuer
	whole  func(t *testing.T, p *pipe, token string)
	stdio  bool
	call   func(rev, token, tool, args string) ask // over HTTP; nil: in the header
}

// holders are the tokens that every carrier shows; one of nobody's is refused.
var holders = map[string]issuer.Claims{
	"alice":                {Subject: "alice", Scopes: allScopes},
	"alice documents:read": {Subject: "alice", Scopes: []string{"documents:read"}},
	"carol":                {Subject: "carol", Scopes: allScopes},
	"nobody":               {Subject: "alice", Scopes: allScopes, Audience: "other"},
}

func signedFor(r *rig, who string) string {
	c := holders[who]
	change := members{"sub": c.Subject, "scope": strings.Join(c.Scopes, " ")}
	if c.Audience != "" {
		change["aud"] = c.Audience
	}
	return r.signed(nil, change)
}

// staticFile makes a file of static tokens the only verifier.
func staticFile(cfg *config.Config) {
	cfg.Auth.Introspection = nil
	cfg.Auth.StaticTokensFile = filepath.Join(cfg.StateDir, "tokens.yaml")
	text := "tokens:\n"
	for who, c := range holders {
		audience := "doc-server"
		if c.Audience != "" {
			audience = c.Audience
		}
		scopes, _ := json.Marshal(c.Scopes)
		text += fmt.Sprintf("- { sha256: %s, subject: %s, audience: [%s], expires: %s, scopes: %s }\n", hashOf(staticSecrets[who]), c.Subject, audience, "2027-01-01T00:00:00Z", scopes)
	}
	if err := os.WriteFile(cfg.Auth.StaticTokensFile, []byte(text), 0o600); err != nil {
		panic(err)
	}
}

var staticSecrets = func() map[string]string {
	secrets := map[string]string{}
	for who := range holders {
		secrets[who] = rand.Text()
	}
	return secrets
}()

func argumentCall(rev, token, tool, args string) ask {
	return toolCall(rev, "", "1", tool, strings.Replace(args, "{", `{"token":"`+token+`",`, 1))
}

var tokenCarriers = []bearing{
	{name: "header, introspection"},
	{name: "header, JWT", change: signedOnly, mint: signedFor},
	{name: "header, static", change: staticFile, mint: func(_ *rig, who string) string { return staticSecrets[who] }},
	{name: "argument, introspection", change: tokensInArguments, call: argumentCall},
	{name: "argument, JWT", change: func(c *config.Config) { signedOnly(c); tokensInArguments(c) }, mint: signedFor, call: argumentCall},
	{name: "_meta, introspection", stdio: true},
	{name: "_meta, JWT", change: signedOnly, mint: signedFor, stdio: true},
	{name: "token file, introspection", stdio: true, whole: func(t *testing.T, p *pipe, token string) {
		if err := os.WriteFile(p.tokenFile, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "token of the environment, static", stdio: true, change: staticFile, mint: func(_ *rig, who string) string { return staticSecrets[who] },
		whole: func(_ *testing.T, p *pipe, token string) { p.token = identity.NewSecret(token) }},
}

// outcomeOfCall is a way in which a call ends.
type outcomeOfCall struct {
	name, who, tool, args string
	upstream              func(token string) http.HandlerFunc // nil: no call may reach it
	child                 func(token string) []string         // instead, the messages of a child
	outcome               string                              // as recorded
	redacted              bool                                // the token was echoed where the client would have read it
}

func echoes(answer string) func(token string) http.HandlerFunc {
	return func(token string) http.HandlerFunc { return jsonBody(strings.ReplaceAll(answer, "$TOKEN", token)) }
}

func anyhow(h http.HandlerFunc) func(string) http.HandlerFunc {
	return func(string) http.HandlerFunc { return h }
}

const echoedResult = `{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"done"}]}}`

var canaryEndings = []outcomeOfCall{
	{name: "allowed", upstream: anyhow(text("done")), outcome: "allowed"},
	{name: "denied by authentication", who: "nobody", outcome: "auth_failed"},
	{name: "denied by scope", who: "alice documents:read", tool: "delete_document", args: `{"id":1,"confirm":true}`, outcome: "not_authorized"},
	{name: "denied by role", who: "carol", tool: "delete_document", args: `{"id":1,"confirm":true}`, outcome: "not_authorized"},
	{name: "denied by a guard", tool: "render_document", args: `{"format":"a;b"}`, outcome: "blocked"},
	{name: "the upstream fails", upstream: anyhow(status(http.StatusInternalServerError)), outcome: "upstream_failed"},
	{name: "the upstream refuses us", upstream: anyhow(status(http.StatusUnauthorized)), outcome: "upstream_failed"},
	{name: "the upstream hangs up", upstream: anyhow(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), outcome: "upstream_failed"},
	{name: "echoed in a result", upstream: echoes(`{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"you sent $TOKEN."}]}}`), outcome: "allowed", redacted: true},
	{name: "echoed in a structured result", upstream: echoes(`{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"structuredContent":{"headers":["Bearer $TOKEN"]}}}`), outcome: "allowed", redacted: true},
	{name: "echoed in a name", upstream: echoes(`{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"structuredContent":{"$TOKEN":1}}}`), outcome: "blocked"},
	{name: "echoed in metadata", upstream: echoes(`{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"done","_meta":{"x":"$TOKEN"}}],"_meta":{"y":"$TOKEN"}}}`), outcome: "allowed", redacted: true},
	{name: "echoed in an error", upstream: echoes(`{"jsonrpc":"2.0","id":$ID,"error":{"code":-32001,"message":"no such token: $TOKEN","data":{"header":"Bearer $TOKEN"}}}`), outcome: "allowed", redacted: true},
	{name: "echoed in a failure", upstream: func(token string) http.HandlerFunc { return always(http.StatusBadGateway, "text/plain", token) }, outcome: "upstream_failed"},
	{name: "echoed in headers", outcome: "allowed", upstream: func(token string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			for _, name := range []string{"X-Token", "Set-Cookie", "Www-Authenticate", "Mcp-Session-Id", "Mcp-Name", "Server"} {
				w.Header().Set(name, token)
			}
			always(http.StatusOK, "application/json; token="+token, echoedResult)(w, req)
		}
	}},
	{name: "echoed in the media type", outcome: "upstream_failed", upstream: func(token string) http.HandlerFunc {
		return always(http.StatusOK, "text/"+token, echoedResult)
	}},
	{name: "echoed in a redirect", outcome: "upstream_failed", upstream: func(token string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/mcp?token="+token)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	}},
	{name: "echoed as JSON that is none", upstream: echoes(`{"jsonrpc":"2.0","id":$ID,"$TOKEN"`), outcome: "upstream_failed"},
	{name: "echoed in a stream", outcome: "allowed", redacted: true, upstream: func(token string) http.HandlerFunc {
		return events("event: message\ndata: " + strings.ReplaceAll(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"$TOKEN","data":{"t":"$TOKEN"}}}`, "$TOKEN", token) + "\n\n" +
			"event: message\ndata: " + `{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"` + token + `"}]}}` + "\n\n")
	}},
	{name: "echoed in the names of a stream", outcome: "allowed", upstream: func(token string) http.HandlerFunc {
		return events(": " + token + "\nevent: " + token + "\nid: " + token + "\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}}\n\nevent: message\ndata: " + echoedResult + "\n\n")
	}},
	{name: "echoed by a child", outcome: "allowed", redacted: true, child: func(token string) []string {
		return []string{
			`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"` + token + `"}}`,
			response("$ID", `{"content":[{"type":"text","text":"`+token+`"}]}`),
		}
	}},
	{name: "echoed in the log of a child", outcome: "allowed", child: func(token string) []string {
		return []string{"!" + logged + " Bearer " + token, "!" + logged + " " + token + " again", response("$ID", `{"content":[]}`)}
	}},
	{name: "echoed as a line that is no message", outcome: "allowed", child: func(token string) []string {
		return []string{"token " + token, response("$ID", `{"content":[]}`)}
	}},
}

// logged begins what children write to their logs.
const logged = "a child says"

// TestCanaryOfCarriers: however a token is shown, whoever verifies it and however its
// call ends, no 12 bytes of it are seen again, not even where a server that knows it
// from elsewhere says it.
//
// Fuzz targets and benchmarks are not searched: what they send may be a piece of a
// credential by chance, or on purpose.
func TestCanaryOfCarriers(t *testing.T) {
	t.Parallel()
	for _, c := range tokenCarriers {
		for _, e := range canaryEndings {
			for _, rev := range bothRevisions {
				t.Run(c.name+"/"+e.name+"/"+rev, func(t *testing.T) {
					t.Parallel()
					c.ends(t, e, rev)
				})
			}
		}
	}
}

// ends makes one call that ends like e. What was seen of its token is looked for at
// the end of the rig.
func (c bearing) ends(t *testing.T, e outcomeOfCall, rev string) {
	who, tool, args := e.who, e.tool, e.args
	if who == "" {
		who = "alice"
	}
	if tool == "" {
		tool, args = "read_document", `{"id":7}`
	}
	var server *scripted
	s := setup{inventory: demoInventory, upstream: opening(text("done"))}
	if !c.stdio {
		s.extra = "diagnostics: { listen: 127.0.0.1:0 }\n"
	} else if s.pipe = (&pipe{}); strings.HasPrefix(c.name, "token file") {
		s.pipe.tokenFile = filepath.Join(t.TempDir(), "token")
		c.whole(t, s.pipe, "no token yet")
	} else if c.whole != nil {
		c.whole(t, s.pipe, staticSecrets[who])
	}
	s.change = func(cfg *config.Config) {
		if c.change != nil {
			c.change(cfg)
		}
		if e.child != nil {
			server = newScripted(t)
			cfg.Upstreams["docs"] = config.Upstream{Command: []string{os.Args[0], childFlag + server.address}}
		}
	}
	r := start(t, s)
	token := r.tokenFor(c, who)
	call := func() string {
		a := c.ask(rev, token, tool, args)
		if e.child != nil && rev == legacy {
			a = a.in(r.initialize(who))
		}
		return string(r.do(a).body)
	}
	if c.stdio {
		shown := token
		if c.whole != nil {
			c.whole(t, s.pipe, token)
			shown = ""
		}
		if c.whole == nil || e.outcome != "auth_failed" {
			s.pipe.open(rev)
		}
		call = func() string {
			return s.pipe.say(piped(rev, "tools/call", fmt.Sprintf(`"name":%q,"arguments":%s`, tool, args), shown))
		}
	}
	r.tokens[who] = token
	r.records()
	if e.child != nil {
		server.answerWith("tools/call", e.child(token)...)
	} else if e.upstream != nil {
		r.up.answerWith(opening(e.upstream(token)))
	}
	got := call()
	for _, seen := range r.up.seen() {
		if e.upstream == nil && strings.Contains(seen.body, `"tools/call"`) {
			t.Errorf("the upstream was reached: %s", seen.body)
		}
	}
	// The session's own stream ends when it likes.
	all := slices.DeleteFunc(r.records(), func(e audit.Event) bool { return e.Kind == "session-stream" })
	if o := all[len(all)-1]; o.Outcome != e.outcome {
		t.Errorf("%s: %+v", got, o)
	}
	if e.redacted && !strings.Contains(r.answers.String(), "[REDACTED:") {
		t.Errorf("nothing is redacted in %s", r.answers)
	}
	if e.child != nil && strings.HasPrefix(e.child("")[0], "!") {
		r.eventually(func() bool { return strings.Count(r.stderr.String(), logged) == 2 })
	}
	if !c.stdio {
		r.probeAll()
	}
}

func (c bearing) ask(rev, token, tool, args string) ask {
	if c.call != nil {
		return c.call(rev, token, tool, args)
	}
	return toolCall(rev, token, "1", tool, args)
}

// tokenFor makes the token that who shows by c, and watches for it.
func (r *rig) tokenFor(c bearing, who string) string {
	if c.mint == nil {
		return r.mint(who, holders[who])
	}
	token := c.mint(r, who)
	credentials.Add(who, token)
	return token
}

// A token file that is written again holds a credential of its caller's as before,
// where nobody is authenticated too.
func TestPipeTokenFileIsNotEchoed(t *testing.T) {
	t.Parallel()
	p := &pipe{tokenFile: filepath.Join(t.TempDir(), "token")}
	write := func() string {
		token := rand.Text()
		credentials.Add("token file", token)
		if err := os.WriteFile(p.tokenFile, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return token
	}
	write()
	server := newScripted(t)
	r := start(t, setup{open: true, pipe: p, change: func(cfg *config.Config) {
		cfg.Upstreams["docs"] = config.Upstream{Command: []string{os.Args[0], childFlag + server.address}}
	}})
	p.open(legacy)
	server.answerWith("tools/call", "!"+logged+" "+write(), response("$ID", `{"content":[]}`))
	p.say(piped(legacy, "tools/call", readSeven, ""))
	r.eventually(func() bool { return strings.Contains(r.stderr.String(), logged) })
}

// opening opens a pipe of either era, and answers anything else with next.
func opening(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		switch {
		case bytes.Contains(body, []byte(`"method":"initialize"`)):
			result(`"protocolVersion":"2025-11-25","capabilities":{}`)(w, req)
		case bytes.Contains(body, []byte(`"method":"server/discover"`)):
			result(`"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{}`)(w, req)
		default:
			next(w, req)
		}
	}
}
