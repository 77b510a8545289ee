package sidecar

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"mcp-sidecar/scenarios/issuer"
)

// raw sends body with the headers of a call of read_document.
func raw(body string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask {
		a := toolCall(rev, r.token("alice"), id, "read_document", `{"id":1}`)
		m := ""
		if rev == modern {
			m = meta + ","
		}
		a.body = strings.NewReplacer("$ID", id, "$META", m).Replace(body)
		return a
	}
}

// read is a call that would pass, changed by f.
func read(f func(ask) ask) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask {
		return f(toolCall(rev, r.token("alice"), id, "read_document", `{"id":1}`))
	}
}

// calls is who calling tool with args.
func calls(who, tool, args string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask { return toolCall(rev, r.token(who), id, tool, args) }
}

// asks is alice's request of another method.
func asks(method, params string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask { return request(rev, r.token("alice"), id, method, params) }
}

func rejected(status, code int, reason, text string) refusal {
	return refusal{status: status, code: code, reason: reason, text: text, outcome: "protocol_rejected", stage: "receive"}
}

func (f refusal) withID(id string) refusal { f.id = id; return f }

var (
	notJSON    = rejected(400, -32700, "malformed", "not valid JSON in UTF-8")
	duplicate  = rejected(400, -32600, "malformed", "duplicate object member name")
	wrongCase  = rejected(400, -32600, "malformed", "an envelope member is spelled with the wrong case")
	memberCase = rejected(400, -32600, "member-case", "a member of params is spelled with the wrong case")
	nul        = rejected(400, -32600, "malformed", "NUL in an object member name")
	batch      = rejected(400, -32600, "malformed", "batches are not accepted; send one message").withID("null")
	notObject  = rejected(400, -32600, "malformed", "not a JSON object").withID("null")
	media      = rejected(400, -32600, "media-type", "the body must be application/json, not encoded")
	notMessage = func(text string) refusal { return rejected(400, -32600, "malformed", text) }
	notServed  = refusal{status: 405, code: 40500, text: "this HTTP method is not served here", outcome: "protocol_rejected", stage: "receive", reason: "http-method", allow: "POST, GET, DELETE"}
	noStream   = refusal{status: 405, code: 40500, text: "this HTTP method is not served here", outcome: "protocol_rejected", stage: "receive", reason: "http-method", allow: "POST, DELETE"}
	unasked    = refusal{status: 400, code: -32600, text: "no request of the server is waiting for this response", outcome: "protocol_rejected", stage: "authorize", reason: "response"}
	noMethod   = refusal{status: 404, legacy: 200, code: -32601, text: "method not found", outcome: "protocol_rejected", stage: "receive", reason: "method"}
	noTool     = refusal{status: 400, legacy: 200, code: -32602, text: "unknown tool", outcome: "protocol_rejected", stage: "authorize", reason: "unknown-tool"}
	badParams  = func(text string) refusal {
		return refusal{status: 400, legacy: 200, code: -32602, text: text, outcome: "protocol_rejected", stage: "receive", reason: "params"}
	}
	tooLarge   = refusal{status: 413, code: 41300, text: "request body exceeds the size limit", outcome: "limited", stage: "receive", reason: "body-size"}
	badToken   = unauthorized("unknown or invalid token", "unknown or invalid token")
	mismatches = func(text string) refusal {
		return rejected(400, -32020, "header-mismatch", "header mismatch: "+text)
	}
)

func unauthorized(text, description string) refusal {
	f := refusal{status: 401, code: 40100, text: "authentication failed: " + text, outcome: "auth_failed", stage: "authenticate", reason: "token", challenge: "$META"}
	if description != "" {
		f.challenge = `error="invalid_token", error_description="` + description + `", $META`
	}
	return f
}

func scopes(missing, needed string) refusal {
	return refusal{status: 403, code: 40300, text: "denied: token scope is missing " + missing, outcome: "not_authorized", stage: "authorize", reason: "scope",
		challenge: `error="insufficient_scope", scope="` + needed + `", $META`, data: `"required":["` + strings.ReplaceAll(needed, " ", `","`) + `"]`}
}

func role(text string) refusal {
	return refusal{status: 200, text: "denied: " + text, outcome: "not_authorized", stage: "authorize", reason: "role"}
}

func blockedBy(guard, rule, text string) refusal {
	return refusal{status: 200, text: text, outcome: "blocked", stage: "inspect-input", reason: guard, guard: guard, rule: rule}
}

// writtenBack refuses a call that would write a mark of the sidecar's own over
// what it stands for.
func writtenBack(rule, what string) refusal {
	return blockedBy("marker_writeback", rule, "blocked: the arguments contain "+what+", which mcp-sidecar wrote into what was read; writing it back would destroy the original, so change the text around it instead")
}

// unsupportedVersion repeats what was asked for only when it looks like a
// revision: anything else could be a credential.
func unsupportedVersion(requested string) refusal {
	f := rejected(400, -32022, "version", "unsupported protocol version")
	f.data = `"supported":["2026-07-28","2025-11-25","2025-06-18","2025-03-26"],"outcome"`
	if requested != "" {
		f.data = strings.Replace(f.data, `"outcome"`, `"requested":"`+requested+`"`, 1)
	}
	return f
}

// listing lets the upstream list its tools; anything else is a trap.
func listing() setup { return setup{inventory: demoInventory} }

const good = `{"jsonrpc":"2.0","id":$ID,"method":"tools/call","params":{$META"name":"read_document","arguments":{"id":1}}}`

// versioned is body with another MCP-Protocol-Version.
func versioned(body, version string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask { return raw(body)(r, rev, id).with("Mcp-Protocol-Version", version) }
}

var (
	unconfirmed = blockedBy("consent", "confirmation-required", "blocked: delete requires explicit confirmation (confirm=true)")
	ambiguous   = blockedBy("identity", "ambiguous-argument", "blocked: the argument created_by is spelled with the wrong case")
	carried     = blockedBy("credential", "credential-in-argument", "blocked: the message contains the credential it was sent with (credential-in-argument)").at("authenticate")
)

func ssrfBlocked(rule, text string) refusal {
	return blockedBy("ssrf", rule, "blocked by SSRF guard: "+text)
}

func foreign(what string) refusal {
	text := map[string]string{
		"host":   "this Host is not served; add it to allowed_hosts, or set public_url",
		"origin": "this Origin is not allowed; add it to allowed_origins",
	}[what]
	return refusal{status: 403, code: 40302, text: text, outcome: "protocol_rejected", stage: "receive", reason: what}
}

func importing(url string) func(*rig, string, string) ask {
	return calls("alice", "import_url", `{"url":"`+url+`"}`)
}

func sentinel(s string) string {
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// headerOf is a value that only 2026-07-28 sends.
func headerOf(rev, value string) []string {
	if rev != modern {
		return nil
	}
	return []string{value}
}

// padded is a call that would pass, were it not of size bytes.
func padded(size int, announced int64) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask {
		a := toolCall(rev, r.token("alice"), id, "read_document", `{"id":1,"pad":""}`)
		a.body = strings.Replace(a.body, `"pad":"`, `"pad":"`+strings.Repeat("x", size-len(a.body)), 1)
		a.length = announced
		return a
	}
}

// keyed is a call whose message has n members.
func keyed(r *rig, rev, id string, n int) ask {
	a := toolCall(rev, r.token("alice"), id, "read_document", `{"id":1}`)
	var more strings.Builder
	for i := range n - strings.Count(a.body, `":`) {
		fmt.Fprintf(&more, `,"k%d":0`, i)
	}
	a.body = strings.Replace(a.body, `"arguments":{"id":1`, `"arguments":{"id":1`+more.String(), 1)
	return a
}

func minted(c issuer.Claims) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask {
		return toolCall(rev, r.mint(fmt.Sprint(c.Subject, c.Audience, rev), c), id, "read_document", `{"id":1}`)
	}
}

func mintedAt(d time.Duration) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask {
		token := r.mint(fmt.Sprint("at", d, rev), issuer.Claims{Subject: "alice", Expiry: r.clock.Now().Add(d)})
		return toolCall(rev, token, id, "read_document", `{"id":1}`)
	}
}
