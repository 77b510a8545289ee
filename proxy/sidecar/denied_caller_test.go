package sidecar

import (
	"net/http"
	"strings"
	"time"

	"mcp-sidecar/scenarios/issuer"
)

// callerDenials are refused for who sends them, or for what they ask.
var callerDenials = []category{
	{name: "token", rows: []denial{
		{name: "none", ask: read(func(a ask) ask { return a.with("Authorization") }), refusal: unauthorized("no bearer token was sent", "")},
		{name: "other scheme", ask: read(func(a ask) ask { return a.with("Authorization", "Basic YWxpY2U6c2VjcmV0") }), refusal: badToken},
		{name: "no scheme", ask: read(func(a ask) ask {
			return a.with("Authorization", strings.TrimPrefix(a.header.Get("Authorization"), "Bearer "))
		}), refusal: badToken},
		{name: "empty", ask: read(func(a ask) ask { return a.with("Authorization", "Bearer ") }), refusal: badToken},
		{name: "empty header", ask: read(func(a ask) ask { return a.with("Authorization", "") }), refusal: badToken},
		{name: "two headers", ask: read(func(a ask) ask {
			v := a.header.Get("Authorization")
			return a.with("Authorization", v, v)
		}), refusal: badToken},
		{name: "two tokens in one header", ask: read(func(a ask) ask {
			v := a.header.Get("Authorization")
			return a.with("Authorization", v+", "+v)
		}), refusal: badToken},
		{name: "illegal character", ask: read(func(a ask) ask { return a.with("Authorization", a.header.Get("Authorization")+"\"") }), refusal: badToken},
		{name: "too long", ask: read(func(a ask) ask { return a.with("Authorization", "Bearer "+strings.Repeat("a", 8<<10+1)) }), refusal: badToken},
		{name: "forged", ask: read(func(a ask) ask { return a.with("Authorization", "Bearer FORGEDFORGEDFORGEDFORGEDFO") }), refusal: badToken},
		{name: "alice's with one more character", ask: read(func(a ask) ask { return a.with("Authorization", a.header.Get("Authorization")+"A") }), refusal: badToken},
		{name: "in the query beside the header", ask: func(r *rig, rev, id string) ask {
			a := toolCall(rev, r.token("alice"), id, "read_document", `{"id":1}`)
			a.path = "/mcp?access_token=" + r.token("alice")
			return a
		}, refusal: unauthorized("a token in the query is not accepted", "unknown or invalid token")},
		{name: "in the query only", ask: func(r *rig, rev, id string) ask {
			a := toolCall(rev, "", id, "read_document", `{"id":1}`)
			a.path = "/mcp?access_token=" + r.token("alice")
			return a
		}, refusal: unauthorized("a token in the query is not accepted", "unknown or invalid token")},
		{name: "none for a list", ask: func(_ *rig, rev, id string) ask { return request(rev, "", id, "tools/list", "") }, refusal: unauthorized("no bearer token was sent", "")},
		{name: "none for ping", only: legacy, ask: func(_ *rig, rev, id string) ask { return request(rev, "", id, "ping", "") }, refusal: unauthorized("no bearer token was sent", "")},
		{name: "none for initialize", only: legacy, ask: func(_ *rig, rev, id string) ask {
			return request(rev, "", id, "initialize", `"protocolVersion":"2025-11-25"`)
		}, refusal: unauthorized("no bearer token was sent", "")},
		{name: "none for discover", only: modern, ask: func(_ *rig, rev, id string) ask { return request(rev, "", id, "server/discover", "") }, refusal: unauthorized("no bearer token was sent", "")},
		{name: "none for a notification", ask: func(_ *rig, rev, _ string) ask { return notify(rev, "", "notifications/cancelled", `"requestId":1`) }, refusal: unauthorized("no bearer token was sent", "").withID("null")},
		{name: "none for a large body", ask: func(r *rig, rev, id string) ask {
			return padded(100<<10, 0)(r, rev, id).with("Authorization")
		}, refusal: unauthorized("no bearer token was sent", "")},
		{name: "none for ending a session", only: legacy, ask: func(*rig, string, string) ask {
			return ask{method: http.MethodDelete, header: http.Header{"Mcp-Session-Id": {"x"}}}
		}, refusal: unauthorized("no bearer token was sent", "").withID("null")},
	}},
	{name: "claims", setup: func() setup { return setup{introspect: claims} }, rows: claimRows()},
	{name: "demo issuer", rows: []denial{
		{name: "foreign audience", ask: minted(issuer.Claims{Subject: "alice", Audience: "other-service"}),
			refusal: unauthorized(`token audience "other-service" is not accepted (expected "doc-server")`, "token audience is not accepted")},
		{name: "expired an hour ago", ask: mintedAt(-time.Hour), refusal: unauthorized("token expired", "token expired")},
		{name: "expires now", ask: mintedAt(0), refusal: unauthorized("token expired", "token expired")},
		{name: "revoked", ask: func(r *rig, rev, id string) ask {
			token := r.mint("revoked"+rev, issuer.Claims{Subject: "alice"})
			r.issuer.Revoke(token)
			return toolCall(rev, token, id, "read_document", `{"id":1}`)
		}, refusal: badToken},
	}},
	{name: "scope", rows: []denial{
		{name: "read-only token", ask: calls("alice documents:read", "update_document", `{"id":1}`), refusal: scopes(`"documents:update"`, "documents:update")},
		{name: "several are needed", ask: calls("alice documents:update", "move_document", `{}`),
			refusal: scopes(`"documents:read", "documents:move"`, "documents:read documents:update documents:move")},
		{name: "none fits", ask: calls("alice other", "delete_document", `{"id":1,"confirm":true}`), refusal: scopes(`"documents:delete"`, "documents:delete")},
		{name: "lone wildcard", ask: calls("alice *", "read_document", `{"id":1}`), refusal: scopes(`"documents:read"`, "documents:read")},
		{name: "wildcard of another resource", ask: calls("alice files:*", "read_document", `{"id":1}`), refusal: scopes(`"documents:read"`, "documents:read")},
		{name: "longer name", ask: calls("alice documents:reads", "read_document", `{"id":1}`), refusal: scopes(`"documents:read"`, "documents:read")},
		{name: "other case", ask: calls("alice Documents:Read", "read_document", `{"id":1}`), refusal: scopes(`"documents:read"`, "documents:read")},
		{name: "scope comes before role", ask: calls("dave documents:read", "delete_document", `{"id":1}`), refusal: scopes(`"documents:delete"`, "documents:delete")},
		{name: "scope comes before guards", ask: calls("alice documents:read", "import_url", `{"url":"http://169.254.169.254/"}`), refusal: scopes(`"documents:create"`, "documents:create")},
	}},
	{name: "role", rows: []denial{
		{name: "viewer deletes", ask: calls("carol", "delete_document", `{"id":1,"confirm":true}`), refusal: role(`role "viewer" may not delete document`)},
		{name: "viewer with a wildcard token", ask: calls("carol documents:*", "delete_document", `{"id":1,"confirm":true}`), refusal: role(`role "viewer" may not delete document`)},
		{name: "editor creates", ask: calls("bob", "create_document", `{"content":"x"}`), refusal: role(`role "editor" may not create document`)},
		{name: "several roles", ask: calls("erin", "delete_document", `{"id":1}`), refusal: role(`roles "editor", "viewer" may not delete document`)},
		{name: "no role", ask: calls("dave documents:*", "read_document", `{"id":1}`), refusal: role(`user "dave" has no role`)},
		{name: "user named like a role", ask: calls("role:admin documents:*", "read_document", `{"id":1}`), refusal: role(`user "role:admin" has no role`)},
		{name: "user in another case", ask: calls("Alice", "read_document", `{"id":1}`), refusal: role(`user "Alice" has no role`)},
		{name: "role comes before guards", ask: calls("carol documents:*", "import_url", `{"url":"http://169.254.169.254/"}`), refusal: role(`role "viewer" may not create document`)},
	}},
	{name: "unknown tools", rows: []denial{
		{name: "no entry", ask: calls("alice", "drop_database", `{}`), refusal: noTool},
		{name: "hidden", ask: calls("alice", "secret_tool", `{}`), refusal: noTool},
		{name: "hidden from one without a role", ask: calls("dave other", "secret_tool", `{}`), refusal: noTool},
		{name: "other case", ask: calls("alice", "Read_Document", `{"id":1}`), refusal: noTool},
		{name: "with the upstream's name", ask: calls("alice", "docs/read_document", `{"id":1}`), refusal: noTool},
		{name: "space behind", ask: func(r *rig, rev, id string) ask {
			return toolCall(rev, r.token("alice"), id, "read_document ", `{"id":1}`).with("Mcp-Name", headerOf(rev, sentinel("read_document "))...)
		}, refusal: noTool},
	}},
	{name: "tools that the upstream lacks", setup: func() setup { return setup{inventory: `[{"name":"other","inputSchema":{"type":"object"}}]`} }, rows: []denial{
		{name: "read", ask: calls("alice", "read_document", `{"id":1}`), refusal: noTool.at("inspect-input")},
		{name: "delete", ask: calls("alice", "delete_document", `{"id":1,"confirm":true}`), refusal: noTool.at("inspect-input")},
		{name: "before its guards", ask: calls("alice", "import_url", `{"url":"http://169.254.169.254/"}`), refusal: noTool.at("inspect-input")},
	}},
	{name: "host and origin", setup: func() setup {
		return setup{extra: "allowed_hosts: [sidecar.example]\nallowed_origins: [\"https://app.example\"]\n"}
	}, rows: []denial{
		{name: "rebound name", ask: read(func(a ask) ask { a.host = "attacker.example"; return a }), refusal: foreign("host")},
		{name: "rebound name with our port", ask: func(r *rig, rev, id string) ask {
			a := toolCall(rev, r.token("alice"), id, "read_document", `{"id":1}`)
			a.host = "attacker.example:" + r.url[strings.LastIndexByte(r.url, ':')+1:strings.LastIndexByte(r.url, '/')]
			return a
		}, refusal: foreign("host")},
		{name: "another port", ask: read(func(a ask) ask { a.host = "127.0.0.1:1"; return a }), refusal: foreign("host")},
		{name: "another loopback address", ask: func(r *rig, rev, id string) ask {
			a := toolCall(rev, r.token("alice"), id, "read_document", `{"id":1}`)
			a.host = strings.Replace(strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), "/mcp"), "127.0.0.1", "127.0.0.2", 1)
			return a
		}, refusal: foreign("host")},
		{name: "allowed name below another", ask: read(func(a ask) ask { a.host = "sidecar.example.attacker.example"; return a }), refusal: foreign("host")},
		{name: "forwarding headers do not count", ask: read(func(a ask) ask {
			a.host = "attacker.example"
			return a.with("X-Forwarded-Host", "sidecar.example").with("Forwarded", "host=sidecar.example")
		}), refusal: foreign("host")},
		{name: "origin", ask: read(func(a ask) ask { return a.with("Origin", "https://attacker.example") }), refusal: foreign("origin")},
		{name: "null origin", ask: read(func(a ask) ask { return a.with("Origin", "null") }), refusal: foreign("origin")},
		{name: "empty origin", ask: read(func(a ask) ask { return a.with("Origin", "") }), refusal: foreign("origin")},
		{name: "origin without TLS", ask: read(func(a ask) ask { return a.with("Origin", "http://app.example") }), refusal: foreign("origin")},
		{name: "two origins", ask: read(func(a ask) ask { return a.with("Origin", "https://app.example", "https://attacker.example") }), refusal: foreign("origin")},
		{name: "our own address as origin, with another scheme", ask: func(r *rig, rev, id string) ask {
			return toolCall(rev, r.token("alice"), id, "read_document", `{"id":1}`).with("Origin", strings.Replace(strings.TrimSuffix(r.url, "/mcp"), "http:", "https:", 1))
		}, refusal: foreign("origin")},
		{name: "another port of our own address as origin", ask: func(r *rig, rev, id string) ask {
			return toolCall(rev, r.token("alice"), id, "read_document", `{"id":1}`).with("Origin", strings.TrimSuffix(r.url, "/mcp")+"0")
		}, refusal: foreign("origin")},
	}},
	{name: "marker guard", setup: listing, rows: []denial{
		{name: "redaction", ask: calls("alice", "update_document", `{"id":1,"content":"key [REDACTED:aws_access_key]"}`),
			refusal: writtenBack("redaction", "the mark of a redaction")},
		{name: "escaped redaction", ask: calls("alice", "update_document", `{"id":1,"content":"key \u005bREDACTED:aws_access_key]"}`),
			refusal: writtenBack("redaction", "the mark of a redaction")},
		{name: "deep inside", ask: calls("alice", "update_document", `{"id":1,"edits":[{"new":["[DEFUSED:lt]"]}]}`),
			refusal: writtenBack("defused", "the mark of a defused delimiter")},
		{name: "delimiter", ask: calls("alice", "update_document", `{"id":1,"content":"<untrusted_content source=\"document:1\">\ntext\n</untrusted_content>"}`),
			refusal: writtenBack("delimiter", "a delimiter of untrusted content")},
		{name: "note", ask: calls("alice", "update_document", `{"id":1,"content":"text\n[guard] 1 finding(s) [secret:redacted jwt]"}`),
			refusal: writtenBack("note", "the note of a guard")},
	}},
	{name: "command guard", setup: listing, rows: []denial{
		{name: "semicolon", ask: calls("alice", "render_document", `{"id":1,"format":"words; rm -rf ~"}`),
			refusal: blockedBy("command", "metacharacter", "blocked by command-injection guard: format contains forbidden shell metacharacter ';'")},
		{name: "substitution", ask: calls("alice", "render_document", `{"id":1,"format":"$(id)"}`),
			refusal: blockedBy("command", "metacharacter", "blocked by command-injection guard: format contains forbidden shell metacharacter '$'")},
		{name: "escaped pipe", ask: calls("alice", "render_document", `{"id":1,"format":"words\u007ccat"}`),
			refusal: blockedBy("command", "metacharacter", "blocked by command-injection guard: format contains forbidden shell metacharacter '|'")},
		{name: "option", ask: calls("alice", "render_document", `{"id":1,"format":"--files0-from=x"}`),
			refusal: blockedBy("command", "leading-dash", "blocked by command-injection guard: format must not start with a dash")},
		{name: "not in the list", ask: calls("alice", "render_document", `{"id":1,"format":"bytes"}`),
			refusal: blockedBy("command", "not-in-list", "blocked by command-injection guard: format is not one of lines, short, words")},
		{name: "number", ask: calls("alice", "render_document", `{"id":1,"format":7}`),
			refusal: blockedBy("command", "wrong-type", "blocked by command-injection guard: format must be a string")},
		{name: "array", ask: calls("alice", "render_document", `{"id":1,"format":["words"]}`),
			refusal: blockedBy("command", "wrong-type", "blocked by command-injection guard: format must be a string")},
		{name: "other spelling", ask: calls("alice", "render_document", `{"id":1,"Format":"words; rm -rf ~"}`),
			refusal: blockedBy("command", "ambiguous-argument", "blocked by command-injection guard: an argument name differs from format only in case or invisible characters")},
	}},
	{name: "SSRF guard", setup: listing, rows: []denial{
		{name: "metadata service", ask: importing("http://169.254.169.254/latest/meta-data/"), refusal: ssrfBlocked("reserved-address", "blocked internal/reserved address 169.254.169.254")},
		{name: "private network", ask: importing("http://192.168.1.1/"), refusal: ssrfBlocked("reserved-address", "blocked internal/reserved address 192.168.1.1")},
		{name: "loopback", ask: importing("https://127.0.0.1/"), refusal: ssrfBlocked("reserved-address", "blocked internal/reserved address 127.0.0.1")},
		{name: "mapped IPv6", ask: importing("https://[::ffff:10.0.0.1]/"), refusal: ssrfBlocked("reserved-address", "blocked internal/reserved address ::ffff:10.0.0.1")},
		{name: "plain http", ask: importing("http://example.com/"), refusal: ssrfBlocked("scheme", "only https URLs are allowed")},
		{name: "user information", ask: importing("https://example.com@169.254.169.254/"), refusal: ssrfBlocked("reserved-address", "blocked internal/reserved address 169.254.169.254")},
		{name: "port", ask: importing("https://example.com:6379/"), refusal: ssrfBlocked("port", "port 6379 is not allowed")},
		{name: "localhost", ask: importing("https://localhost/"), refusal: ssrfBlocked("internal-name", "internal host name")},
		{name: "name of the metadata service", ask: importing("https://metadata.example.com/"), refusal: ssrfBlocked("reserved-address", `blocked internal/reserved address 169.254.169.254 (resolved from "metadata.example.com")`)},
		{name: "one bad answer among good ones", ask: importing("https://rebind.example.com/"), refusal: ssrfBlocked("reserved-address", `blocked internal/reserved address 10.0.0.1 (resolved from "rebind.example.com")`)},
		{name: "unknown name", ask: importing("https://nowhere.example.com/"), refusal: ssrfBlocked("unresolvable", "host does not resolve")},
		{name: "number as URL", ask: calls("alice", "import_url", `{"url":7}`), refusal: ssrfBlocked("wrong-type", "url must be a URL or a list of URLs")},
		{name: "other spelling", ask: calls("alice", "import_url", `{"URL":"http://169.254.169.254/"}`), refusal: ssrfBlocked("ambiguous-argument", "an argument name differs from url only in case or invisible characters")},
	}},
	{name: "consent guard", setup: listing, rows: []denial{
		{name: "missing", ask: calls("alice", "delete_document", `{"id":1}`), refusal: unconfirmed},
		{name: "no arguments", ask: calls("alice", "delete_document", ``), refusal: unconfirmed},
		{name: "false", ask: calls("alice", "delete_document", `{"id":1,"confirm":false}`), refusal: unconfirmed},
		{name: "text", ask: calls("alice", "delete_document", `{"id":1,"confirm":"true"}`), refusal: unconfirmed},
		{name: "number", ask: calls("alice", "delete_document", `{"id":1,"confirm":1}`), refusal: unconfirmed},
		{name: "null", ask: calls("alice", "delete_document", `{"id":1,"confirm":null}`), refusal: unconfirmed},
		{name: "array", ask: calls("alice", "delete_document", `{"id":1,"confirm":[true]}`), refusal: unconfirmed},
		{name: "nested", ask: calls("alice", "delete_document", `{"id":1,"options":{"confirm":true}}`), refusal: unconfirmed},
		{name: "other case", ask: calls("alice", "delete_document", `{"id":1,"Confirm":true}`),
			refusal: blockedBy("consent", "ambiguous-argument", "blocked: an argument name differs from confirm only in case or invisible characters")},
		{name: "other case beside it", ask: calls("alice", "delete_document", `{"id":1,"confirm":true,"CONFIRM":false}`),
			refusal: blockedBy("consent", "ambiguous-argument", "blocked: an argument name differs from confirm only in case or invisible characters")},
	}},
	{name: "credential in the message", setup: func() setup { return setup{inventory: demoInventory, introspect: weirdToken} }, rows: credentialRows()},
	{name: "injected argument", setup: listing, rows: []denial{
		{name: "other case", ask: calls("alice", "create_document", `{"content":"x","Created_By":"mallory"}`), refusal: ambiguous},
		{name: "other case beside it", ask: calls("alice", "create_document", `{"content":"x","created_by":"alice","CREATED_BY":"mallory"}`), refusal: ambiguous},
		{name: "escaped other case", ask: calls("alice", "create_document", `{"content":"x","created_\u0042y":"mallory"}`), refusal: ambiguous},
		{name: "of another tool", ask: calls("alice", "import_url", `{"url":"https://example.com/","created_BY":"mallory"}`), refusal: ambiguous},
	}},
}
