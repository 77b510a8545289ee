package sidecar

// featurePolicy gives alice everything of the server but one resource, and bob a
// resource, a prompt and a method.
const featurePolicy = `
p, role:admin,  docs/*, *, allow
p, role:admin,  docs/resource:memo://sealed/plan, read, deny
p, role:reader, docs/resource:memo://public/a, read, allow
p, role:reader, docs/prompt:greet, get, allow
p, role:reader, docs/method:com.example/count, call, allow
g, user:alice, role:admin
g, user:bob, role:reader
`

func features() setup {
	return setup{policy: featurePolicy, inventory: demoInventory, extra: "methods: [com.example/count, com.example/burn, notifications/com.example/tick]\n"}
}

// named is who's request of a method whose target is also in Mcp-Name.
func named(who, method, name, params string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask {
		a := request(rev, r.token(who), id, method, params)
		return a.with("Mcp-Name", headerOf(rev, name)...)
	}
}

func as(who, method, params string) func(*rig, string, string) ask {
	return func(r *rig, rev, id string) ask { return request(rev, r.token(who), id, method, params) }
}

// notes is who's notification.
func notes(who, method string) func(*rig, string, string) ask {
	return func(r *rig, rev, _ string) ask { return notify(rev, r.token(who), method, "") }
}

// reads is who's resources/read of uri, as JSON writes it.
func reads(who, uri string) func(*rig, string, string) ask {
	return named(who, "resources/read", uri, `"uri":"`+uri+`"`)
}

// forbidden is a refusal of the role for what is no tool call.
func forbidden(text string) refusal {
	return refusal{status: 200, code: 40301, text: "denied: " + text, outcome: "not_authorized", stage: "authorize", reason: "role"}
}

var (
	// forbiddenNote is what nobody reads: a notification has no answer.
	forbiddenNote = refusal{status: 202, empty: true, outcome: "not_authorized", stage: "authorize", reason: "role"}

	notCanonical = refusal{status: 400, legacy: 200, code: -32602, text: "the resource URI is not in canonical form", outcome: "protocol_rejected", stage: "receive", reason: "uri"}
	noTask       = refusal{status: 400, legacy: 200, code: -32602, text: "unknown task", outcome: "protocol_rejected", stage: "authorize", reason: "task"}
	badState     = refusal{status: 400, legacy: 200, code: -32602, text: "requestState has expired or does not belong to this request; start over without it", outcome: "protocol_rejected", stage: "inspect-input", reason: "request-state"}
)

// featureDenials are refused for the resource, prompt, method, task or
// subscription that they name.
var featureDenials = []category{
	{name: "resources", setup: features, rows: []denial{
		{name: "no role for it", ask: reads("bob", "memo://private/b"), refusal: forbidden(`role "reader" may not read docs/resource:memo://private/b`)},
		{name: "denied although the rest is allowed", ask: reads("alice", "memo://sealed/plan"), refusal: forbidden(`role "admin" may not read docs/resource:memo://sealed/plan`)},
		{name: "the same in another case of scheme and host", ask: reads("alice", "MEMO://Sealed/plan"), refusal: forbidden(`role "admin" may not read docs/resource:memo://sealed/plan`)},
		{name: "dot segments", ask: reads("alice", "memo://sealed/x/../plan"), refusal: notCanonical},
		{name: "dot segment at the end", ask: reads("alice", "memo://sealed/plan/.."), refusal: notCanonical},
		{name: "single dot", ask: reads("alice", "memo://sealed/./plan"), refusal: notCanonical},
		{name: "encoded dots", ask: reads("alice", "memo://sealed/x/%2e%2E/plan"), refusal: notCanonical},
		{name: "dot segments between encoded slashes", ask: reads("alice", "memo://public/..%2Fsealed%2fplan"), refusal: notCanonical},
		{name: "encoded letter", ask: reads("alice", "memo://sealed/%70lan"), refusal: notCanonical},
		{name: "encoded backslash", ask: reads("alice", "memo://sealed/x%5c..%5Cplan"), refusal: notCanonical},
		{name: "backslashes", ask: named("alice", "resources/read", `memo://sealed/x\..\plan`, `"uri":"memo://sealed/x\\..\\plan"`), refusal: notCanonical},
		{name: "empty segment of a file", ask: reads("alice", "file:///a//b"), refusal: notCanonical},
		{name: "no URI", ask: named("alice", "resources/read", "", ``), refusal: badParams("params.uri is missing or not a string")},
		{name: "number as URI", ask: named("alice", "resources/read", "", `"uri":7`), refusal: badParams("params.uri is missing or not a string")},
		{name: "URI in another case", ask: named("alice", "resources/read", "memo://public/a", `"uri":"memo://public/a","URI":"memo://sealed/plan"`), refusal: memberCase},
		{name: "subscription", only: legacy, ask: as("bob", "resources/subscribe", `"uri":"memo://private/b"`), refusal: forbidden(`role "reader" may not read docs/resource:memo://private/b`)},
		{name: "end of a subscription", only: legacy, ask: as("bob", "resources/unsubscribe", `"uri":"memo://private/b"`), refusal: forbidden(`role "reader" may not read docs/resource:memo://private/b`)},
		{name: "one of those listened to", only: modern, ask: as("bob", "subscriptions/listen", `"notifications":{"resourceSubscriptions":["memo://public/a","memo://private/b"]}`), refusal: forbidden(`role "reader" may not read docs/resource:memo://private/b`)},
		{name: "not canonical in a filter", only: modern, ask: as("alice", "subscriptions/listen", `"notifications":{"resourceSubscriptions":["memo://public/../sealed/plan"]}`), refusal: notCanonical.at("authorize")},
		{name: "filter in another case", only: modern, ask: as("bob", "subscriptions/listen", `"notifications":{"ResourceSubscriptions":["memo://private/b"]}`), refusal: memberCase.with("a member of params.notifications is spelled with the wrong case").at("authorize")},
		{name: "no list in a filter", only: modern, ask: as("alice", "subscriptions/listen", `"notifications":{"resourceSubscriptions":"memo://public/a"}`), refusal: badParams("resourceSubscriptions is not a list of URIs").at("authorize")},
		{name: "numbers in a filter", only: modern, ask: as("alice", "subscriptions/listen", `"notifications":{"resourceSubscriptions":[1]}`), refusal: badParams("resourceSubscriptions is not a list of URIs").at("authorize")},
		{name: "Mcp-Name says another", only: modern, ask: named("alice", "resources/read", "memo://public/a", `"uri":"memo://sealed/plan"`), refusal: mismatches("Mcp-Name does not match the body")},
		{name: "Mcp-Name is missing", only: modern, ask: as("alice", "resources/read", `"uri":"memo://public/a"`), refusal: mismatches("Mcp-Name is missing")},
	}},
	{name: "prompts and completion", setup: features, rows: []denial{
		{name: "no role for it", ask: named("bob", "prompts/get", "secret", `"name":"secret"`), refusal: forbidden(`role "reader" may not get docs/prompt:secret`)},
		{name: "no role at all", ask: named("dave", "prompts/get", "greet", `"name":"greet"`), refusal: forbidden(`user "dave" has no role`)},
		{name: "no name", ask: named("alice", "prompts/get", "", ``), refusal: badParams("params.name is missing or not a string")},
		{name: "completion of a prompt", ask: as("bob", "completion/complete", `"ref":{"type":"ref/prompt","name":"secret"},"argument":{"name":"a","value":""}`), refusal: forbidden(`role "reader" may not get docs/prompt:secret`)},
		{name: "completion of a template", ask: as("bob", "completion/complete", `"ref":{"type":"ref/resource","uri":"memo://{x}"},"argument":{"name":"x","value":""}`), refusal: forbidden(`role "reader" may not read "docs/resource:memo://{x}"`)},
		{name: "completion of a template that climbs", ask: as("alice", "completion/complete", `"ref":{"type":"ref/resource","uri":"memo://a/../{x}"},"argument":{"name":"x","value":""}`), refusal: notCanonical},
		{name: "completion of nothing", ask: as("alice", "completion/complete", `"argument":{"name":"x","value":""}`), refusal: badParams("params.ref names neither a prompt nor a resource")},
		{name: "completion of another thing", ask: as("alice", "completion/complete", `"ref":{"type":"ref/tool","name":"delete_document"}`), refusal: badParams("params.ref names neither a prompt nor a resource")},
		{name: "reference in another case", ask: as("bob", "completion/complete", `"ref":{"type":"ref/prompt","name":"greet","Name":"secret"}`), refusal: memberCase.with("a member of params.ref is spelled with the wrong case")},
	}},
	{name: "admitted methods", setup: features, rows: []denial{
		{name: "no role for it", ask: as("bob", "com.example/burn", ``), refusal: forbidden(`role "reader" may not call docs/method:com.example/burn`)},
		{name: "no token", ask: func(_ *rig, rev, id string) ask { return request(rev, "", id, "com.example/count", "") }, refusal: unauthorized("no bearer token was sent", "")},
		{name: "another of the same name space", ask: as("alice", "com.example/other", ``), refusal: noMethod},
		{name: "in another case", ask: as("alice", "com.example/Count", ``), refusal: noMethod},
		{name: "without an id", ask: notes("bob", "com.example/burn"), refusal: forbiddenNote},
		{name: "no role for a notification", ask: notes("bob", "notifications/com.example/tick"), refusal: forbiddenNote},
	}},
	{name: "tasks", setup: features, rows: []denial{
		{name: "of nobody", ask: as("alice", "tasks/get", `"taskId":"t-1"`), refusal: noTask},
		{name: "to cancel", ask: as("alice", "tasks/cancel", `"taskId":"t-1"`), refusal: noTask},
		{name: "result", only: legacy, ask: as("alice", "tasks/result", `"taskId":"t-1"`), refusal: noTask},
		{name: "update", only: modern, ask: as("alice", "tasks/update", `"taskId":"t-1"`), refusal: noTask},
		{name: "no id", ask: as("alice", "tasks/get", ``), refusal: badParams("params.taskId is missing or not a string")},
		{name: "id in another case", ask: as("alice", "tasks/get", `"taskId":"t-1","taskid":"t-2"`), refusal: memberCase},
		{name: "Mcp-Name says another", only: modern, ask: named("alice", "tasks/get", "t-2", `"taskId":"t-1"`), refusal: mismatches("Mcp-Name does not match the body")},
	}},
	{name: "state", setup: features, rows: []denial{
		{name: "made up", ask: named("alice", "tools/call", "search", `"name":"search","arguments":{"id":1},"requestState":"bWFkZSB1cA"`), refusal: badState},
		{name: "empty", ask: named("alice", "tools/call", "search", `"name":"search","requestState":""`), refusal: badState},
		{name: "number", ask: named("alice", "prompts/get", "greet", `"name":"greet","requestState":7`), refusal: badState},
		{name: "of a resource", ask: named("alice", "resources/read", "memo://public/a", `"uri":"memo://public/a","requestState":"AAAA"`), refusal: badState},
		{name: "in another case", ask: named("alice", "prompts/get", "greet", `"name":"greet","RequestState":"AAAA"`), refusal: memberCase},
	}},
}

func (f refusal) with(text string) refusal { f.text = text; return f }
