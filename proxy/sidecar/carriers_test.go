package sidecar

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/guards/consent"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/scenarios/issuer"
)

// tokenTools are what the upstream lists where tokens may stand in arguments: some
// of its tools have an argument of that name themselves.
const tokenTools = `[
 {"name":"read_document","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"id":{"type":"integer"}}}},
 {"name":"render_document","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}},
 {"name":"delete_document","annotations":{"destructiveHint":true},"inputSchema":{"type":"object","properties":{"id":{"type":"integer"}}}},
 {"name":"create_document","annotations":{"destructiveHint":false},"inputSchema":{"type":"object","properties":{"content":{"type":"string"},"created_by":{"type":"string"}}}},
 {"name":"update_document","annotations":{"destructiveHint":false},"inputSchema":{"type":"object","properties":{"token":{"type":"string"}}}},
 {"name":"move_document","annotations":{"destructiveHint":false},"inputSchema":{"type":"object","properties":{"Token":{"type":"string"}}}},
 {"name":"import_url","annotations":{"destructiveHint":false},"inputSchema":{"$ref":"#/$defs/import","$defs":{"import":{"type":"object","properties":{"token":{}}}}}}
]`

func tokensInArguments(cfg *config.Config) { cfg.Auth.TokenArgument = true }

// argued is a rig where tokens may stand in arguments.
func argued() setup { return setup{inventory: tokenTools, change: tokensInArguments} }

// bare is a call of tool without a token, whose arguments may hold that of who as
// $TOKEN, and alice's as $ALICE.
func bare(tool, args, who string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask { return toolCall(rev, "", id, tool, r.fill(args, who)) }
}

func (r *rig) fill(text, who string) string {
	if who == "" {
		who = "alice"
	}
	return strings.NewReplacer("$TOKEN", r.token(who), "$ALICE", r.token("alice")).Replace(text)
}

// beside is the same with alice's token in the header.
func beside(tool, args, who string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask {
		return toolCall(rev, r.token("alice"), id, tool, r.fill(args, who))
	}
}

// inMeta puts a token into the metadata of a call.
func inMeta(call func(*rig, string, string) ask, who string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask {
		a := call(r, rev, id)
		token := `"mcp-sidecar/token":"` + r.token(who) + `"`
		if rev == modern {
			a.body = strings.Replace(a.body, `"_meta":{`, `"_meta":{`+token+`,`, 1)
		} else {
			a.body = strings.Replace(a.body, `"params":{`, `"params":{"_meta":{`+token+`},`, 1)
		}
		return a
	}
}

// inQuery puts a token into the address of a call.
func inQuery(call func(*rig, string, string) ask, who string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask {
		a := call(r, rev, id)
		a.path = "/mcp?access_token=" + r.token(who)
		return a
	}
}

var (
	twoTokens  = unauthorized("two tokens were presented; send one", "unknown or invalid token")
	notOnHTTP  = unauthorized("a token in _meta is accepted over stdio only", "unknown or invalid token")
	notInQuery = unauthorized("a token in the query is not accepted", "unknown or invalid token")
	toolsOwn   = unauthorized("the tool has an argument of this name itself; send the token another way", "unknown or invalid token")
	noToken    = unauthorized("no bearer token was sent", "")
)

// carrierDenials: which of two tokens counts would be a guess, and so would be
// what a token in a place that is none is meant for.
var carrierDenials = []category{
	{name: "two carriers", setup: argued, rows: []denial{
		{name: "header and _meta", ask: inMeta(beside("read_document", `{"id":1}`, ""), "bob"), refusal: notOnHTTP},
		{name: "header and _meta, the same token", ask: inMeta(beside("read_document", `{"id":1}`, ""), "alice"), refusal: notOnHTTP},
		{name: "header and _meta of a large body", ask: inMeta(beside("read_document", `{"pad":"`+strings.Repeat("x", 80<<10)+`"}`, ""), "bob"), refusal: notOnHTTP},
		{name: "header and argument", ask: beside("read_document", `{"id":1,"token":"$TOKEN"}`, "bob"), refusal: twoTokens},
		{name: "header and argument, the same token", ask: beside("read_document", `{"token":"$ALICE","id":1}`, ""), refusal: twoTokens},
		{name: "header and argument that does not hold", ask: beside("read_document", `{"token":"FORGEDFORGEDFORGEDFORGEDFO"}`, ""), refusal: twoTokens},
		{name: "header and argument that is no text", ask: beside("read_document", `{"token":7}`, ""), refusal: twoTokens},
		{name: "header and empty argument", ask: beside("read_document", `{"token":""}`, ""), refusal: twoTokens},
		{name: "header and argument in escapes", ask: beside("read_document", `{"t\u006fken":"$TOKEN"}`, "bob"), refusal: twoTokens},
		{name: "header and argument of a large body", ask: beside("read_document", `{"pad":"`+strings.Repeat("x", 80<<10)+`","token":"$TOKEN"}`, "bob"), refusal: twoTokens},
		{name: "header that does not hold and argument that does", ask: func(r *rig, rev, id string) ask {
			return toolCall(rev, "FORGEDFORGEDFORGEDFORGEDFO", id, "read_document", `{"token":"`+r.token("alice")+`"}`)
		}, refusal: badToken},
		{name: "empty header and argument", ask: func(r *rig, rev, id string) ask {
			return bare("read_document", `{"token":"$ALICE"}`, "")(r, rev, id).with("Authorization", "")
		}, refusal: badToken},
		{name: "two headers and argument", ask: func(r *rig, rev, id string) ask {
			return bare("read_document", `{"token":"$ALICE"}`, "")(r, rev, id).with("Authorization", "Bearer "+r.token("alice"), "Bearer "+r.token("bob"))
		}, refusal: badToken},
		{name: "_meta and argument", ask: inMeta(bare("read_document", `{"token":"$TOKEN"}`, "bob"), "alice"), refusal: notOnHTTP},
		{name: "header, _meta and argument", ask: inMeta(beside("read_document", `{"token":"$TOKEN"}`, "bob"), "carol"), refusal: notOnHTTP},
		{name: "query and header", ask: inQuery(beside("read_document", `{"id":1}`, ""), "bob"), refusal: notInQuery},
		{name: "query and header, the same token", ask: inQuery(beside("read_document", `{"id":1}`, ""), "alice"), refusal: notInQuery},
		{name: "query and argument", ask: inQuery(bare("read_document", `{"token":"$TOKEN"}`, "bob"), "alice"), refusal: notInQuery},
		{name: "query and _meta", ask: inMeta(inQuery(bare("read_document", `{}`, ""), "alice"), "alice"), refusal: notOnHTTP},
		{name: "query, header and argument", ask: inQuery(beside("read_document", `{"token":"$TOKEN"}`, "bob"), "carol"), refusal: notInQuery},
		{name: "two queries", ask: func(r *rig, rev, id string) ask {
			a := inQuery(bare("read_document", `{}`, ""), "alice")(r, rev, id)
			a.path += "&access_token=" + r.token("bob")
			return a
		}, refusal: notInQuery},
	}},
	{name: "two carriers and an id that is one of them", setup: argued, rows: []denial{
		{name: "argument", refusal: twoTokens.withID("null"), ask: func(r *rig, rev, _ string) ask {
			return beside("read_document", `{"token":"$TOKEN"}`, "bob")(r, rev, `"`+r.token("bob")+`"`)
		}},
		{name: "header", refusal: carried.withID("null"), ask: func(r *rig, rev, _ string) ask {
			return beside("read_document", `{"token":"$TOKEN"}`, "bob")(r, rev, `"`+r.token("alice")+`"`)
		}},
		{name: "header beside _meta", refusal: notOnHTTP.withID("null"), ask: func(r *rig, rev, _ string) ask {
			return inMeta(beside("read_document", `{}`, ""), "bob")(r, rev, `"`+r.token("alice")+`"`)
		}},
		{name: "second header", refusal: badToken.withID("null"), ask: func(r *rig, rev, _ string) ask {
			return toolCall(rev, "", `"`+r.token("bob")+`"`, "read_document", `{}`).with("Authorization", "Bearer "+r.token("alice"), "Bearer "+r.token("bob"))
		}},
		{name: "header without a scheme", refusal: badToken.withID("null"), ask: func(r *rig, rev, _ string) ask {
			return toolCall(rev, "", `"`+r.token("bob")+`"`, "read_document", `{}`).with("Authorization", r.token("bob"))
		}},
		{name: "query", refusal: notInQuery.withID("null"), ask: func(r *rig, rev, _ string) ask {
			return inQuery(beside("read_document", `{}`, ""), "bob")(r, rev, `"`+r.token("bob")+`"`)
		}},
	}},
	{name: "token in an argument", setup: argued, rows: []denial{
		{name: "forged", ask: bare("read_document", `{"token":"FORGEDFORGEDFORGEDFORGEDFO"}`, ""), refusal: badToken},
		{name: "with its scheme", ask: bare("read_document", `{"token":"Bearer $ALICE"}`, ""), refusal: badToken},
		{name: "empty", ask: bare("read_document", `{"token":""}`, ""), refusal: badToken},
		{name: "number", ask: bare("read_document", `{"token":7}`, ""), refusal: badToken},
		{name: "null", ask: bare("read_document", `{"token":null}`, ""), refusal: badToken},
		{name: "in a list", ask: bare("read_document", `{"token":["$ALICE"]}`, ""), refusal: badToken},
		{name: "in an object", ask: bare("read_document", `{"token":{"token":"$ALICE"}}`, ""), refusal: badToken},
		{name: "expired", ask: func(r *rig, rev, id string) ask {
			token := r.mint("expired"+rev, issuer.Claims{Subject: "alice", Expiry: r.clock.Now()})
			return toolCall(rev, "", id, "read_document", `{"token":"`+token+`"}`)
		}, refusal: unauthorized("token expired", "token expired")},
		{name: "for another service", ask: func(r *rig, rev, id string) ask {
			token := r.mint("foreign"+rev, issuer.Claims{Subject: "alice", Audience: "other"})
			return toolCall(rev, "", id, "read_document", `{"token":"`+token+`"}`)
		}, refusal: unauthorized(`token audience "other" is not accepted (expected "doc-server")`, "token audience is not accepted")},
		{name: "without the scope", ask: bare("read_document", `{"token":"$TOKEN"}`, "alice other"), refusal: scopes(`"documents:read"`, "documents:read")},
		{name: "without the role", ask: bare("delete_document", `{"id":1,"confirm":true,"token":"$TOKEN"}`, "carol"), refusal: role(`role "viewer" may not delete document`)},
		{name: "below another argument", ask: bare("read_document", `{"options":{"token":"$ALICE"}}`, ""), refusal: noToken},
		{name: "beside the arguments", ask: func(r *rig, rev, id string) ask {
			a := toolCall(rev, "", id, "read_document", `{"id":1}`)
			a.body = strings.Replace(a.body, `"params":{`, `"params":{"token":"`+r.token("alice")+`",`, 1)
			return a
		}, refusal: noToken},
		{name: "in another spelling", ask: bare("read_document", `{"Token":"$ALICE"}`, ""), refusal: noToken},
		{name: "in another spelling as well", ask: bare("read_document", `{"token":"$ALICE","TOKEN":"x"}`, ""), refusal: ambiguousToken},
		{name: "in another spelling beside the header", ask: beside("read_document", `{"TOKEN":"x"}`, ""), refusal: ambiguousToken},
		{name: "and in another argument", ask: bare("read_document", `{"token":"$ALICE","id":"$ALICE"}`, ""), refusal: carried},
		{name: "and in front of it", ask: bare("read_document", `{"id":"$ALICE","token":"$ALICE"}`, ""), refusal: carried},
		{name: "and in the metadata of its message", ask: func(r *rig, rev, id string) ask {
			a := toolCall(rev, "", id, "read_document", `{"token":"`+r.token("alice")+`"}`)
			a.body = strings.Replace(a.body, `"name":`, `"x":{"trace":"`+r.token("alice")+`"},"name":`, 1)
			return a
		}, refusal: carried},
		{name: "of a tool with an argument of that name", ask: bare("update_document", `{"token":"$ALICE"}`, ""), refusal: toolsOwn},
		{name: "of a tool with that name in another case", ask: bare("move_document", `{"token":"$ALICE"}`, ""), refusal: toolsOwn},
		{name: "of a tool that may have one", ask: bare("import_url", `{"token":"$ALICE"}`, ""), refusal: toolsOwn},
		{name: "the header's, as the tool's own", ask: beside("update_document", `{"token":"$ALICE"}`, ""), refusal: carried.at("inspect-input")},
		{name: "the header's, inside the tool's own", ask: beside("update_document", `{"token":{"a":["x $ALICE"]}}`, ""), refusal: carried.at("inspect-input")},
		{name: "of a large body", ask: bare("read_document", `{"token":"$ALICE","pad":"`+strings.Repeat("x", 64<<10)+`"}`, ""), refusal: noToken},
		{name: "of a prompt", ask: func(r *rig, rev, id string) ask {
			a := request(rev, "", id, "prompts/get", `"name":"x","arguments":{"token":"`+r.token("alice")+`"}`)
			return a.with("Mcp-Name", headerOf(rev, "x")...)
		}, refusal: noToken},
		{name: "of a list", ask: func(r *rig, rev, id string) ask {
			return request(rev, "", id, "tools/list", `"arguments":{"token":"`+r.token("alice")+`"}`)
		}, refusal: noToken},
	}},
	{name: "token in an argument that is no carrier", setup: func() setup { return setup{inventory: tokenTools} }, rows: []denial{
		{name: "alone", ask: bare("read_document", `{"token":"$ALICE"}`, ""), refusal: noToken},
		{name: "forged", ask: bare("read_document", `{"token":"FORGEDFORGEDFORGEDFORGEDFO"}`, ""), refusal: noToken},
		{name: "the header's", ask: beside("read_document", `{"token":"$ALICE"}`, ""), refusal: carried},
	}},
}

var ambiguousToken = blockedBy("identity", "ambiguous-argument", "blocked: the argument token is spelled with the wrong case")

// A token in an argument says who calls, and nobody behind the sidecar sees it:
// exactly the member and one comma go.
func TestTokenArgument(t *testing.T) {
	t.Parallel()
	type row struct {
		name, tool, args string
		header           string // who sends a token there; empty: nobody
		forwarded        string
		subject          string
	}
	rows := []row{
		{"first", "read_document", `{ "token" : "$TOKEN" , "id":1.0}`, "", `{  "id":1.0}`, "bob"},
		{"last", "read_document", `{"id":1 , "token":"$TOKEN" }`, "", `{"id":1  }`, "bob"},
		{"between", "read_document", `{"a":[1 ,2],"token":"$TOKEN","id":9007199254740993}`, "", `{"a":[1 ,2],"id":9007199254740993}`, "bob"},
		{"alone", "read_document", `{"token":"$TOKEN"}`, "", `{}`, "bob"},
		{"in escapes", "read_document", `{"id":1,"\u0074oken":"$ESCAPED"}`, "", `{"id":1}`, "bob"},
		{"with a confirmation", "delete_document", `{"confirm":true,"token":"$ALICE","id":1}`, "", `{"id":1}`, "alice"},
		{"with a confirmation around", "delete_document", `{"token":"$ALICE","id":1,"confirm":true}`, "", `{"id":1}`, "alice"},
		{"with an argument that is set", "create_document", `{"content":"x","created_by":"mallory","token":"$ALICE"}`, "", `{"content":"x","created_by":"alice"}`, "alice"},
		{"with an argument that is added", "create_document", `{"token":"$ALICE","content":"x"}`, "", `{"content":"x","created_by":"alice"}`, "alice"},
		{"with nothing but an argument that is added", "create_document", `{"token":"$ALICE"}`, "", `{"created_by":"alice"}`, "alice"},
		{"with a mapped value", "render_document", `{"format":"short","token":"$TOKEN"}`, "", `{"format":"words"}`, "bob"},
		{"none", "read_document", `{"id":1}`, "carol", `{"id":1}`, "carol"},
		{"below another argument", "read_document", `{"options":{"token":"theirs"}}`, "carol", `{"options":{"token":"theirs"}}`, "carol"},
		{"the tool's own", "update_document", `{"token":"theirs", "id":1}`, "bob", `{"token":"theirs", "id":1}`, "bob"},
		{"the tool's own in its case", "move_document", `{"Token":"theirs"}`, "bob", `{"Token":"theirs"}`, "bob"},
		{"the tool's own, perhaps", "import_url", `{"token":"theirs","url":"https://example.com/"}`, "alice", `{"token":"theirs","url":"https://example.com/","created_by":"alice"}`, "alice"},
	}
	for _, rev := range bothRevisions {
		r := start(t, setup{inventory: tokenTools, change: tokensInArguments, upstream: text("done")})
		for i, row := range rows {
			t.Run(row.name+"/"+rev, func(t *testing.T) {
				token := ""
				if row.header != "" {
					token = r.token(row.header)
				}
				args := strings.ReplaceAll(r.fill(row.args, "bob"), "$ESCAPED", inEscapes(r.token("bob")))
				r.records()
				g := r.do(toolCall(rev, token, ids[i%len(ids)], row.tool, args))
				if g.status != http.StatusOK || !bytes.Contains(g.body, []byte("done")) {
					t.Fatalf("%d %s", g.status, g.body)
				}
				want := toolCall(rev, "", ids[i%len(ids)], row.tool, row.forwarded).body
				if got := r.up.last(); got.body != want || got.header.Get("Authorization") != "Bearer "+service {
					t.Errorf("forwarded %s\nwant      %s", got.body, want)
				}
				if e := r.outcome(); e.Subject != row.subject || e.Outcome != "allowed" {
					t.Errorf("recorded %+v", e)
				}
			})
		}
	}
}

// inEscapes writes every character as an escape.
func inEscapes(s string) string {
	var b strings.Builder
	for _, c := range s {
		fmt.Fprintf(&b, `\u%04X`, c)
	}
	return b.String()
}

// Where guards only watch, a token is still a token.
func TestTokenArgumentIsStrippedInEveryPreset(t *testing.T) {
	t.Parallel()
	for _, preset := range []string{"observe", "balanced", "strict"} {
		r := start(t, setup{inventory: tokenTools, change: tokensInArguments, upstream: text("done"), preset: preset})
		for _, rev := range bothRevisions {
			args := r.fill(`{"token":"$ALICE","id":1}`, "")
			if g := r.do(toolCall(rev, "", "1", "read_document", args)); !bytes.Contains(g.body, []byte("done")) {
				t.Errorf("%s: %d %s", preset, g.status, g.body)
			}
			if got := r.up.last().body; !strings.Contains(got, `"arguments":{"id":1}`) {
				t.Errorf("%s: forwarded %s", preset, got)
			}
			g := r.do(beside("read_document", `{"token":"$TOKEN"}`, "bob")(r, rev, "2"))
			if g.status != http.StatusUnauthorized {
				t.Errorf("%s, two tokens: %d %s", preset, g.status, g.body)
			}
		}
	}
}

// A tool that the upstream does not list may have any argument; the token of the
// caller is still not for it.
func TestTokenArgumentOfUnlistedTool(t *testing.T) {
	t.Parallel()
	r := start(t, setup{change: tokensInArguments, upstream: func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(idOf(req), "inventory") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		text("done")(w, req)
	}})
	for _, rev := range bothRevisions {
		if g := r.do(toolCall(rev, "", "1", "read_document", r.fill(`{"token":"$ALICE","id":1,"confirm":true}`, ""))); !bytes.Contains(g.body, []byte("done")) {
			t.Errorf("%d %s", g.status, g.body)
		}
		if got := r.up.last().body; !strings.Contains(got, `"arguments":{"id":1}`) {
			t.Errorf("forwarded %s", got)
		}
		r.denied(t, denial{ask: beside("read_document", `{"token":"theirs, or ours?"}`, ""), refusal: twoTokens}, rev, "2")
	}
}

// The argument is advertised where it can be, and only where that way is open. A
// tool that keeps its own is warned of, once.
func TestTokenArgumentInLists(t *testing.T) {
	t.Parallel()
	const tokenSchema = `{"type":"string","description":"Access token of the user for whom this call is made. It is removed before the tool is called. Leave it out when the client shows a token by itself."}`
	for _, row := range []struct {
		name, tool, schema string
		open               string // empty: as it is
		warned             bool
	}{
		{"added", "read_document", `{"type":"object", "properties":{"id":{} }}`, `{"type":"object", "properties":{"id":{} ,"token":$TOKEN}}`, false},
		{"without properties", "read_document", `{"type":"object"}`, `{"type":"object","properties":{"token":$TOKEN}}`, false},
		{"closed schema", "read_document", `{"type":"object","properties":{},"additionalProperties":false}`, `{"type":"object","properties":{"token":$TOKEN},"additionalProperties":false}`, false},
		{"beside a confirmation", "delete_document", `{"type":"object"}`, `{"type":"object","properties":{"confirm":$CONFIRM,"token":$TOKEN}}`, false},
		{"beside its own confirmation", "delete_document", `{"type":"object","properties":{"confirm":{}}}`, `{"type":"object","properties":{"confirm":{},"token":$TOKEN}}`, true},
		{"in the place of an argument that is set", "create_document", `{"type":"object","properties":{"created_by":{}}}`, `{"type":"object","properties":{"token":$TOKEN}}`, false},
		{"its own", "read_document", `{"type":"object","properties":{"token":{}}}`, ``, true},
		{"its own in another case", "read_document", `{"type":"object","properties":{"TOKEN":{}}}`, ``, true},
		{"not an object's", "read_document", `{"anyOf":[{"type":"object"}]}`, ``, true},
		{"elsewhere", "read_document", `{"$ref":"#/$defs/a"}`, ``, true},
		{"none", "read_document", `{}`, ``, true},
	} {
		for _, preset := range []string{"balanced", "observe"} {
			t.Run(row.name+"/"+preset, func(t *testing.T) {
				want := row.open
				if want == "" || preset == "observe" {
					want = row.schema
				}
				want = strings.NewReplacer("$TOKEN", tokenSchema, "$CONFIRM", consent.PropertySchema).Replace(want)
				r := start(t, setup{preset: preset, change: tokensInArguments, upstream: toolsResult("", `[{"name":"`+row.tool+`","inputSchema":`+row.schema+`}]`)})
				for range 2 {
					if g := r.do(request(legacy, r.token("alice"), "1", "tools/list", "")); !bytes.Contains(g.body, []byte(`"inputSchema":`+want+`}]`)) {
						t.Errorf("got %s\nwant %s", g.body, want)
					}
				}
				warned := 0
				if row.warned && preset == "balanced" {
					warned = 1
				}
				if n := strings.Count(r.stderr.String(), "the tool keeps its own input schema"); n != warned {
					t.Errorf("warned %d times:\n%s", n, r.stderr)
				}
			})
		}
	}
}

// A retry with a renewed token is the same request: the state that it brings back
// does not belong to the token.
func TestTokenArgumentAndState(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: tokenTools, change: tokensInArguments, upstream: asking(elicitation)})
	call := func(args string) ask {
		return capable(toolCall(modern, "", "1", "read_document", args), `"elicitation":{}`)
	}
	state := stateOf(t, r, call(r.fill(`{"id":1,"token":"$ALICE"}`, "")))
	renewed := r.mint("alice, renewed", issuer.Claims{Subject: "alice", Scopes: allScopes})
	for _, row := range []struct {
		name, args string
		passes     bool
	}{
		{"renewed", `{"id":1,"token":"` + renewed + `"}`, true},
		{"in another order", `{"token":"` + renewed + `","id":1}`, true},
		{"other arguments", `{"id":2,"token":"` + renewed + `"}`, false},
		{"somebody else", `{"id":1,"token":"` + r.token("bob") + `"}`, false},
	} {
		g := r.do(stated(call(row.args), state))
		if got := bytes.Contains(g.body, []byte("with the state of the server")); got != row.passes {
			t.Errorf("%s: %d %s", row.name, g.status, g.body)
		}
	}
}

// A template for the origin of results cannot show the token.
func TestTokenArgumentIsNoSource(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: tokenTools, change: tokensInArguments, upstream: text("done"), tools: `
  docs/read_document: { resource: document, action: read, wrap: always, source: "read with {token} of {id}" }
`})
	for _, rev := range bothRevisions {
		g := r.do(toolCall(rev, "", "1", "read_document", r.fill(`{"token":"$ALICE","id":1}`, "")))
		if !bytes.Contains(g.body, []byte("read_with___of_1")) {
			t.Errorf("%d %s", g.status, g.body)
		}
	}
}

// Over a pipe, where each message may have another sender, the same holds; what a
// refusal says stands in a result, since there is no status.
func TestTokenArgumentOverPipe(t *testing.T) {
	t.Parallel()
	call := func(rev, args, meta string) string {
		return piped(rev, "tools/call", `"name":"read_document","arguments":`+args, meta)
	}
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			for _, env := range []bool{false, true} {
				p := &pipe{}
				s := argued()
				s.upstream = sdkServer(t, rev == modern)
				s.pipe = p
				write := func(token string) {
					if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if env {
					p.tokenFile = file
					write("FORGEDFORGEDFORGEDFORGEDFO")
				}
				r := start(t, s)
				write(r.token("alice"))
				if rev == legacy {
					p.say(pipeOpens)
					p.say(pipeIsOpen)
					p.say(piped(rev, "ping", "", "")) // behind the notification
				}
				two := "authentication failed: two tokens were presented; send one"
				for _, row := range []struct {
					name, args, meta string
					env              bool
					says             string // empty: it passes
				}{
					{"argument", `{"id":7,"token":"$ALICE"}`, "", false, ""},
					{"_meta", `{"id":7}`, "$ALICE", false, ""},
					{"neither", `{"id":7}`, "", false, "authentication failed: no bearer token was sent"},
					{"_meta and argument", `{"id":7,"token":"$ALICE"}`, "$ALICE", false, two},
					{"_meta and another's argument", `{"id":7,"token":"$TOKEN"}`, "$ALICE", false, two},
					{"forged argument", `{"id":7,"token":"FORGEDFORGEDFORGEDFORGEDFO"}`, "", false, "authentication failed: unknown or invalid token"},
					{"environment", `{"id":7}`, "", true, ""},
					{"environment and argument", `{"id":7,"token":"$ALICE"}`, "", true, two},
					{"environment and another's argument", `{"id":7,"token":"$TOKEN"}`, "", true, two},
					{"environment and _meta", `{"id":7}`, "$ALICE", true, two},
					{"environment, _meta and argument", `{"id":7,"token":"$ALICE"}`, "$ALICE", true, two},
				} {
					if row.env != env {
						continue
					}
					r.records()
					reads := strings.Count(r.up.everything(), "tools/call")
					got := p.say(call(rev, r.fill(row.args, "bob"), r.fill(row.meta, "")))
					e := r.outcome()
					reached := strings.Count(r.up.everything(), "tools/call") > reads
					switch {
					case row.says == "" && (!strings.Contains(got, "read document id=7") || e.Subject != "alice"):
						t.Errorf("%s: %s, recorded %+v", row.name, got, e)
					case row.says != "" && (got != pipeRefusal(rev, row.says, e.ID) || e.Outcome != "auth_failed" || reached):
						t.Errorf("%s: %s, reached %v, recorded %+v", row.name, got, reached, e)
					}
				}
			}
		})
	}
}

// pipeRefusal is what a client over stdio reads when a tool call is refused for its
// token.
func pipeRefusal(rev, says, auditID string) string {
	kind := ""
	if rev == modern {
		kind = `"resultType":"complete",`
	}
	return `{"jsonrpc":"2.0","id":1,"result":{` + kind + `"isError":true,"content":[{"type":"text","text":"` + says + `"}],` +
		`"_meta":{"mcp-sidecar/outcome":"auth_failed","mcp-sidecar/audit_id":"` + auditID + `"}}}`
}

// Whoever starts the sidecar is told, in capitals.
func TestTokenArgumentIsWarnedOf(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		r := start(t, setup{change: func(cfg *config.Config) { cfg.Auth.TokenArgument = open }})
		var b strings.Builder
		r.sidecar.Summary(&b)
		if got := strings.Contains(b.String(), "WARNING        auth.token_argument: callers' tokens may stand in the argument token"); got != open {
			t.Errorf("open %v:\n%s", open, b.String())
		}
	}
}

// With several servers behind one address a token in an argument is taken out
// whichever of them is meant.
func TestTokenArgumentOfMergedTools(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: tokenTools, change: tokensInArguments, upstream: text("of docs"), extra: "merge: true\n", tools: `
  docs/read_document: { resource: document, action: read }
  notes/update_document: { resource: document, action: read }
`, others: map[string]setup{"notes": {inventory: tokenTools, upstream: text("of notes")}}})
	for _, rev := range bothRevisions {
		call := func(token, tool, args string) got {
			a := toolCall(rev, token, "1", tool, r.fill(args, ""))
			a.path = "/mcp"
			return r.do(a)
		}
		if g := call("", "docs.read_document", `{"token":"$ALICE","id":1}`); !bytes.Contains(g.body, []byte("of docs")) {
			t.Errorf("%d %s", g.status, g.body)
		}
		if got := r.up.last().body; !strings.Contains(got, `"arguments":{"id":1}`) {
			t.Errorf("forwarded %s", got)
		}
		if g := call(r.token("alice"), "notes.update_document", `{"token":"theirs"}`); !bytes.Contains(g.body, []byte("of notes")) {
			t.Errorf("the tool's own: %d %s", g.status, g.body)
		}
		if g := call(r.token("alice"), "docs.read_document", `{"token":"theirs"}`); g.status != http.StatusUnauthorized {
			t.Errorf("two: %d %s", g.status, g.body)
		}
	}
}

// Every message of a session is asked for its token, whatever the one before it
// showed.
func TestEveryMessageIsVerified(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		end    func(r *rig, token string)
		says   string
		phrase string
	}{
		{"expired", func(r *rig, _ string) { r.clock.advance(time.Hour) }, "token expired", "token expired"},
		{"revoked by its issuer", func(r *rig, token string) {
			r.issuer.Revoke(token)
			r.clock.advance(30 * time.Second) // what is known of a token stands for that long
		}, "unknown or invalid token", "unknown or invalid token"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, setup{inventory: demoInventory, upstream: stateful()})
			session := r.initialize("alice")
			messages := map[string]func(id string) ask{
				"call":         func(id string) ask { return toolCall(legacy, r.token("alice"), id, "read_document", `{"id":1}`) },
				"list":         func(id string) ask { return request(legacy, r.token("alice"), id, "tools/list", "") },
				"ping":         func(id string) ask { return request(legacy, r.token("alice"), id, "ping", "") },
				"modern call":  func(id string) ask { return toolCall(modern, r.token("alice"), id, "read_document", `{"id":1}`) },
				"notification": func(string) ask { return notify(legacy, r.token("alice"), "notifications/initialized", "") },
				"stream": func(string) ask {
					return ask{method: http.MethodGet, header: http.Header{"Authorization": {"Bearer " + r.token("alice")}, "Mcp-Protocol-Version": {legacy}}}
				},
				"end": func(string) ask {
					return ask{method: http.MethodDelete, header: http.Header{"Authorization": {"Bearer " + r.token("alice")}, "Mcp-Protocol-Version": {legacy}}}
				},
			}
			if g := r.do(messages["call"]("1").in(session)); !bytes.Contains(g.body, []byte("done")) {
				t.Fatalf("before: %d %s", g.status, g.body)
			}
			row.end(r, r.token("alice"))
			for name, message := range messages {
				id := "7"
				want := unauthorized(row.says, row.phrase)
				if name == "notification" || name == "stream" || name == "end" {
					want = want.withID("null")
				}
				t.Run(name, func(t *testing.T) {
					r.denied(t, denial{ask: func(*rig, string, string) ask { return message(id).in(session) }, refusal: want}, legacy, id)
				})
			}
			// The session itself is still its principal's.
			r.mint("alice", issuer.Claims{Subject: "alice", Scopes: allScopes})
			if g := r.do(messages["call"]("2").in(session)); !bytes.Contains(g.body, []byte("done")) {
				t.Errorf("with a new token: %d %s", g.status, g.body)
			}
		})
	}
}
