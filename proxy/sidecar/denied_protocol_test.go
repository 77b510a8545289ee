package sidecar

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// protocolDenials are refused before anybody asks who sent them.
var protocolDenials = []category{
	{name: "malformed JSON", rows: []denial{
		{name: "empty", ask: raw(``), refusal: notJSON.withID("null")},
		{name: "plain text", ask: raw(`hello`), refusal: notJSON.withID("null")},
		{name: "cut short", ask: raw(strings.TrimSuffix(good, "}")), refusal: notJSON},
		{name: "behind the message", ask: raw(good + `x`), refusal: rejected(400, -32700, "malformed", "more than one JSON value")},
		{name: "two messages", ask: raw(good + "\n" + good), refusal: rejected(400, -32700, "malformed", "more than one JSON value")},
		{name: "trailing comma", ask: raw(strings.TrimSuffix(good, "}") + ",}"), refusal: notJSON},
		{name: "comment", ask: raw(strings.Replace(good, `"method"`, `/**/"method"`, 1)), refusal: notJSON},
		{name: "single quotes", ask: raw(strings.Replace(good, `"tools/call"`, `'tools/call'`, 1)), refusal: notJSON},
		{name: "NaN", ask: raw(strings.Replace(good, `{"id":1}`, `{"id":NaN}`, 1)), refusal: notJSON},
		{name: "leading zero", ask: raw(strings.Replace(good, `{"id":1}`, `{"id":01}`, 1)), refusal: notJSON},
		{name: "byte order mark", ask: raw("\ufeff" + good), refusal: notJSON.withID("null")},
		{name: "invalid UTF-8", ask: raw(strings.Replace(good, `{"id":1}`, "{\"id\":\"\xff\"}", 1)), refusal: notJSON},
		{name: "lone surrogate", ask: raw(strings.Replace(good, `{"id":1}`, `{"id":"\ud800"}`, 1)), refusal: notJSON},
		{name: "line break in a string", ask: raw(strings.Replace(good, `read_document`, "read\ndocument", 1)), refusal: notJSON},
		{name: "UTF-16", ask: raw("{\x00\"\x00"), refusal: notJSON.withID("null")},
	}},
	{name: "ambiguous members", rows: []denial{
		{name: "duplicate name of the tool", ask: raw(strings.Replace(good, `"name":`, `"name":"list_documents","name":`, 1)), refusal: duplicate},
		{name: "duplicate after unescaping", ask: raw(strings.Replace(good, `"name":`, `"n\u0061me":"list_documents","name":`, 1)), refusal: duplicate},
		{name: "duplicate method", ask: raw(strings.Replace(good, `"method":`, `"method":"ping","method":`, 1)), refusal: duplicate},
		{name: "duplicate id", ask: raw(strings.Replace(good, `"method":`, `"id":2,"method":`, 1)), refusal: duplicate},
		{name: "duplicate deep in the arguments", ask: raw(strings.Replace(good, `{"id":1}`, `{"a":[{"x":1,"x":2}]}`, 1)), refusal: duplicate},
		{name: "Method beside method", ask: raw(strings.Replace(good, `"params"`, `"Method":"ping","params"`, 1)), refusal: wrongCase},
		{name: "ID beside id", ask: raw(strings.Replace(good, `"params"`, `"ID":2,"params"`, 1)), refusal: wrongCase},
		{name: "params with a long s", ask: raw(strings.Replace(good, `"params"`, `"param\u017f":{},"params"`, 1)), refusal: wrongCase},
		{name: "Name beside name", ask: raw(strings.Replace(good, `"name":`, `"Name":"delete_document","name":`, 1)), refusal: memberCase},
		{name: "ARGUMENTS beside arguments", ask: raw(strings.Replace(good, `"name":`, `"ARGUMENTS":{},"name":`, 1)), refusal: memberCase},
		{name: "_Meta", ask: raw(strings.Replace(good, `"name":`, `"_Meta":{},"name":`, 1)), refusal: memberCase},
		{name: "NUL behind method", ask: raw(strings.Replace(good, `"params"`, `"method\u0000":"x","params"`, 1)), refusal: nul},
		{name: "NUL in an argument's name", ask: raw(strings.Replace(good, `{"id":1}`, `{"id\u0000x":1}`, 1)), refusal: nul},
	}},
	{name: "envelope", rows: []denial{
		{name: "no version", ask: raw(strings.Replace(good, `"jsonrpc":"2.0",`, ``, 1)), refusal: notMessage(`"jsonrpc" is not "2.0"`)},
		{name: "version 1.0", ask: raw(strings.Replace(good, `"2.0"`, `"1.0"`, 1)), refusal: notMessage(`"jsonrpc" is not "2.0"`)},
		{name: "version as number", ask: raw(strings.Replace(good, `"2.0"`, `2.0`, 1)), refusal: notMessage(`"jsonrpc" is not "2.0"`)},
		{name: "null id", ask: raw(strings.Replace(good, `$ID`, `null`, 1)), refusal: notMessage("the id is neither a string nor a number").withID("null")},
		{name: "object as id", ask: raw(strings.Replace(good, `$ID`, `{"a":1}`, 1)), refusal: notMessage("the id is neither a string nor a number").withID("null")},
		{name: "true as id", ask: raw(strings.Replace(good, `$ID`, `true`, 1)), refusal: notMessage("the id is neither a string nor a number").withID("null")},
		{name: "empty method", ask: raw(strings.Replace(good, `"tools/call"`, `""`, 1)), refusal: notMessage("the method is not a name")},
		{name: "number as method", ask: raw(strings.Replace(good, `"tools/call"`, `7`, 1)), refusal: notMessage("the method is not a name")},
		{name: "array as params", ask: raw(`{"jsonrpc":"2.0","id":$ID,"method":"tools/call","params":["read_document"]}`), refusal: notMessage("params is not an object")},
		{name: "request with a result", ask: raw(strings.Replace(good, `"params"`, `"result":{},"params"`, 1)), refusal: notMessage("a request with a result")},
		{name: "neither request nor response", ask: raw(`{"jsonrpc":"2.0","id":$ID}`), refusal: notMessage("neither a request nor a response")},
		{name: "result and error", ask: raw(`{"jsonrpc":"2.0","id":$ID,"result":{},"error":{"code":1,"message":""}}`), refusal: notMessage("neither a request nor a response")},
		{name: "response that nobody asked for", only: legacy, ask: raw(`{"jsonrpc":"2.0","id":$ID,"result":{}}`), refusal: unasked},
		{name: "response, which this era has not, that nobody asked for", only: modern, ask: raw(`{"jsonrpc":"2.0","id":$ID,"result":{}}`), refusal: rejected(400, -32600, "response", unasked.text)},
		{name: "error that nobody asked for", only: legacy, ask: raw(`{"jsonrpc":"2.0","id":$ID,"error":{"code":-1,"message":"x"}}`), refusal: unasked},
		{name: "error, which this era has not, that nobody asked for", only: modern, ask: raw(`{"jsonrpc":"2.0","id":$ID,"error":{"code":-1,"message":"x"}}`), refusal: rejected(400, -32600, "response", unasked.text)},
	}},
	{name: "not one object", rows: []denial{
		{name: "empty batch", ask: raw(`[]`), refusal: batch},
		{name: "batch of one", ask: raw(`[` + good + `]`), refusal: batch},
		{name: "batch of two", ask: raw(`[` + good + `,` + good + `]`), refusal: batch},
		{name: "batch in a batch", ask: raw(`[[` + good + `]]`), refusal: batch},
		{name: "string", ask: raw(`"tools/call"`), refusal: notObject},
		{name: "number", ask: raw(`7`), refusal: notObject},
		{name: "null", ask: raw(`null`), refusal: notObject},
	}},
	{name: "media type", rows: []denial{
		{name: "none", ask: read(func(a ask) ask { return a.with("Content-Type") }), refusal: media},
		{name: "text", ask: read(func(a ask) ask { return a.with("Content-Type", "text/plain") }), refusal: media},
		{name: "form of a browser", ask: read(func(a ask) ask { return a.with("Content-Type", "application/x-www-form-urlencoded") }), refusal: media},
		{name: "JSON with another suffix", ask: read(func(a ask) ask { return a.with("Content-Type", "application/json-patch+json") }), refusal: media},
		{name: "UTF-16", ask: read(func(a ask) ask { return a.with("Content-Type", "application/json; charset=utf-16") }), refusal: media},
		{name: "two types", ask: read(func(a ask) ask { return a.with("Content-Type", "application/json", "text/plain") }), refusal: media},
		{name: "gzip", ask: read(func(a ask) ask { return a.with("Content-Encoding", "gzip") }), refusal: media},
		{name: "identity and gzip", ask: read(func(a ask) ask { return a.with("Content-Encoding", "identity, gzip") }), refusal: media},
		{name: "broken", ask: read(func(a ask) ask { return a.with("Content-Type", "application/json; =") }), refusal: media},
	}},
	{name: "HTTP method", rows: []denial{
		{name: "GET", ask: read(func(a ask) ask { a.method, a.body = http.MethodGet, ""; return a }), refusal: noStream.withID("null")},
		{name: "PUT", ask: read(func(a ask) ask { a.method = http.MethodPut; return a }), refusal: notServed},
		{name: "PATCH", ask: read(func(a ask) ask { a.method = http.MethodPatch; return a }), refusal: notServed},
		{name: "OPTIONS", ask: read(func(a ask) ask { a.method, a.body = http.MethodOptions, ""; return a }), refusal: notServed.withID("null")},
		{name: "unknown", ask: read(func(a ask) ask { a.method = "BREW"; return a }), refusal: notServed},
		{name: "lower case", ask: read(func(a ask) ask { a.method = "post"; return a }), refusal: notServed},
	}},
	{name: "limits", setup: func() setup { return setup{extra: "limits: { request_body: 4KiB, depth: 8, keys: 64 }\n"} }, rows: []denial{
		{name: "body of n+1 bytes", ask: padded(4<<10+1, 0), refusal: tooLarge},
		{name: "body of n+1 bytes, unannounced", ask: padded(4<<10+1, -1), refusal: tooLarge},
		{name: "body that announces more", ask: func(r *rig, rev, id string) ask {
			a := padded(1<<20, 0)(r, rev, id)
			return a
		}, refusal: tooLarge},
		{name: "depth n+1", ask: func(r *rig, rev, id string) ask {
			return toolCall(rev, r.token("alice"), id, "read_document", strings.Repeat(`{"a":`, 6)+"{}"+strings.Repeat("}", 6)) // message, params, arguments and 6 below
		}, refusal: notMessage("nested too deeply")},
		{name: "depth n+1 of arrays", ask: calls("alice", "read_document", `{"a":[[[[[[]]]]]]}`), refusal: notMessage("nested too deeply")},
		{name: "keys n+1", ask: func(r *rig, rev, id string) ask { return keyed(r, rev, id, 65) }, refusal: notMessage("too many object members")},
	}},
	{name: "method table", rows: []denial{
		{name: "unknown", ask: asks("tools/destroy", ""), refusal: noMethod},
		{name: "other case", ask: asks("Tools/Call", `"name":"read_document"`), refusal: noMethod},
		{name: "space behind", ask: func(r *rig, rev, id string) ask {
			return request(rev, r.token("alice"), id, "tools/list ", "").with("Mcp-Method", headerOf(rev, sentinel("tools/list "))...)
		}, refusal: noMethod},
		{name: "logging level is not of this era", only: modern, ask: asks("logging/setLevel", `"level":"debug"`), refusal: noMethod},
		{name: "resource subscriptions are not of this era", only: modern, ask: asks("resources/subscribe", `"uri":"file:///x"`), refusal: noMethod},
		{name: "a list of tasks is not of this era", only: modern, ask: asks("tasks/list", ""), refusal: noMethod},
		{name: "listening is not of this era", only: legacy, ask: asks("subscriptions/listen", `"notifications":{}`), refusal: noMethod},
		{name: "an extension that nobody admitted", ask: asks("com.example/act", ""), refusal: noMethod},
		{name: "a server's method", ask: asks("sampling/createMessage", ``), refusal: noMethod},
		{name: "discover is not of this era", only: legacy, ask: asks("server/discover", ""), refusal: noMethod},
		{name: "ping is not of this era", only: modern, ask: asks("ping", ""), refusal: noMethod},
		{name: "initialize is not of this era", only: modern, ask: asks("initialize", `"protocolVersion":"2025-11-25"`), refusal: noMethod},
		{name: "notification as a request", ask: asks("notifications/initialized", ""), refusal: noMethod},
		{name: "the sidecar's own id", ask: func(r *rig, rev, _ string) ask {
			return toolCall(rev, r.token("alice"), `"mcp-sidecar\/inventory"`, "read_document", `{"id":1}`)
		}, refusal: rejected(400, -32600, "reserved-id", "this request id is reserved").withID(`"mcp-sidecar\/inventory"`)},
	}},
	{name: "parameters", rows: []denial{
		{name: "no name", ask: func(r *rig, rev, id string) ask {
			return request(rev, r.token("alice"), id, "tools/call", "").with("Mcp-Name", headerOf(rev, "")...)
		}, refusal: badParams("params.name is missing or not a string")},
		{name: "no params", only: legacy, ask: raw(`{"jsonrpc":"2.0","id":$ID,"method":"tools/call"}`), refusal: badParams("params.name is missing or not a string")},
		{name: "number as name", ask: func(r *rig, rev, id string) ask {
			return request(rev, r.token("alice"), id, "tools/call", `"name":7`).with("Mcp-Name", headerOf(rev, "")...)
		}, refusal: badParams("params.name is missing or not a string")},
		{name: "array as arguments", ask: calls("alice", "read_document", `[1]`), refusal: badParams("params.arguments is not an object")},
		{name: "string as arguments", ask: calls("alice", "read_document", `"{}"`), refusal: badParams("params.arguments is not an object")},
		{name: "null as arguments", ask: calls("alice", "read_document", `null`), refusal: badParams("params.arguments is not an object")},
		{name: "initialize without a version", only: legacy, ask: asks("initialize", `"capabilities":{}`), refusal: badParams("params.protocolVersion is missing")},
		{name: "metadata without a version", only: modern, ask: raw(`{"jsonrpc":"2.0","id":$ID,"method":"tools/call","params":{"_meta":{},"name":"read_document"}}`),
			refusal: refusal{status: 400, code: -32602, text: `params._meta lacks "io.modelcontextprotocol/protocolVersion"`, outcome: "protocol_rejected", stage: "receive", reason: "meta"}},
	}},
	{name: "headers against body", rows: []denial{
		{name: "no Mcp-Method", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Method") }), refusal: mismatches("Mcp-Method is missing")},
		{name: "other Mcp-Method", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Method", "tools/list") }), refusal: mismatches("Mcp-Method does not match the body")},
		{name: "Mcp-Method in another case", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Method", "TOOLS/CALL") }), refusal: mismatches("Mcp-Method does not match the body")},
		{name: "Mcp-Method twice", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Method", "tools/call", "tools/call") }), refusal: mismatches("Mcp-Method is sent more than once")},
		{name: "no Mcp-Name", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Name") }), refusal: mismatches("Mcp-Name is missing")},
		{name: "other Mcp-Name", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Name", "list_documents") }), refusal: mismatches("Mcp-Name does not match the body")},
		{name: "Mcp-Name twice", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Name", "read_document", "delete_document") }), refusal: mismatches("Mcp-Name is sent more than once")},
		{name: "Mcp-Name with a list", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Name", "read_document, delete_document") }), refusal: mismatches("Mcp-Name does not match the body")},
		{name: "other Mcp-Name in Base64", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Name", sentinel("delete_document")) }), refusal: mismatches("Mcp-Name does not match the body")},
		{name: "Mcp-Name in broken Base64", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Name", "=?base64?cmVhZF9kb2N1bWVudA?=") }), refusal: mismatches("Mcp-Name does not match the body")},
		{name: "Mcp-Name in lenient Base64", only: modern, ask: read(func(a ask) ask {
			return a.with("Mcp-Name", "=?base64?"+strings.Replace(base64.StdEncoding.EncodeToString([]byte("read_document")), "==", "=", 1)+"?=")
		}), refusal: mismatches("Mcp-Name does not match the body")},
		{name: "no MCP-Protocol-Version", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Protocol-Version") }), refusal: mismatches("MCP-Protocol-Version is missing")},
		{name: "MCP-Protocol-Version of another era", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Protocol-Version", legacy) }), refusal: mismatches("MCP-Protocol-Version does not match the request's _meta")},
		{name: "empty MCP-Protocol-Version", only: modern, ask: read(func(a ask) ask { return a.with("Mcp-Protocol-Version", "") }), refusal: mismatches("MCP-Protocol-Version does not match the request's _meta")},
		{name: "MCP-Protocol-Version twice", ask: read(func(a ask) ask {
			return a.with("Mcp-Protocol-Version", append(a.header.Values("Mcp-Protocol-Version"), "2025-03-26")...)
		}), refusal: mismatches("MCP-Protocol-Version is sent more than once")},
		{name: "MCP-Protocol-Version twice the same", ask: read(func(a ask) ask {
			v := a.header.Get("Mcp-Protocol-Version")
			return a.with("Mcp-Protocol-Version", v, v)
		}), refusal: mismatches("MCP-Protocol-Version is sent more than once")},
	}},
	{name: "version", rows: []denial{
		{name: "newer than we know", ask: versioned(strings.ReplaceAll(good, "$META", ""), "2027-01-01"), refusal: unsupportedVersion("2027-01-01")},
		{name: "older than we serve", ask: versioned(strings.ReplaceAll(good, "$META", ""), "2024-11-05"), refusal: unsupportedVersion("2024-11-05")},
		{name: "no date", ask: versioned(strings.ReplaceAll(good, "$META", ""), "latest"), refusal: unsupportedVersion("")},
		{name: "newer in header and body", ask: versioned(strings.Replace(good, "$META", `"_meta":{"io.modelcontextprotocol/protocolVersion":"2027-01-01"},`, 1), "2027-01-01"), refusal: unsupportedVersion("2027-01-01")},
		{name: "initialize with an old one", only: legacy, ask: asks("initialize", `"protocolVersion":"2024-11-05","capabilities":{}`), refusal: unsupportedVersion("2024-11-05")},
	}},
}
