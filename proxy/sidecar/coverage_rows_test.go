package sidecar

import "encoding/base64"

// fixture is one kind of content in one kind of message.
type fixture struct {
	kind    string // result, error, notification, request, or question: a request inside a result
	method  string
	content string
	// message is the result, the error or the params of the upstream's message; old
	// is the same where the old revision writes it otherwise. @ stands for the
	// planted text, @1 and @2 for its halves. A stream carries several messages where
	// it has several lines.
	message, old string
	params, name string              // of the client's request, and its Mcp-Name
	in           string              // the method whose result holds a question
	encode       func(string) string // how the text is written; nil means as a JSON string's content
	bytes        bool                // orders are not looked for
}

// Requests of clients, by method: what they say and what they name.
var (
	callParams     = `"name":"update_document","arguments":{"id":1}`
	readParams     = `"uri":"memo://a"`
	promptParams   = `"name":"greet"`
	taskParams     = `"taskId":"task-1"`
	completeParams = `"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"a","value":""}`
)

func inCall(content, message string) fixture {
	return fixture{kind: "result", method: "tools/call", content: content, message: message, params: callParams, name: "update_document"}
}

func inRead(content, message string) fixture {
	return fixture{kind: "result", method: "resources/read", content: content, message: message + `,"cacheScope":"private"}`, params: readParams, name: "memo://a"}
}

func inPrompt(content, message string) fixture {
	return fixture{kind: "result", method: "prompts/get", content: content, message: message, params: promptParams, name: "greet"}
}

func inList(method, content, list string) fixture {
	return fixture{kind: "result", method: method, content: content, message: `{` + list + `,"nextCursor":"more","cacheScope":"private"}`}
}

func inTask(method, content, message string) fixture {
	return fixture{kind: "result", method: method, content: content, message: message, params: taskParams, name: "task-1"}
}

func plain(method, params string) fixture {
	return fixture{kind: "result", method: method, content: "any member", message: `{"note":"@"}`, params: params}
}

func question(method, content, in, params, name, message string) fixture {
	return fixture{kind: "question", method: method, content: content, in: in, params: params, name: name,
		message: `{"resultType":"input_required","inputRequests":{"q":{"method":"` + method + `","params":` + message + `}}}`}
}

func notice(method, content, params string) fixture {
	return fixture{kind: "notification", method: method, content: content, message: params}
}

func askedFor(method, content, params string) fixture {
	return fixture{kind: "request", method: method, content: content, message: params}
}

func (f fixture) inBytes() fixture {
	f.bytes = true
	f.encode = func(s string) string { return base64.StdEncoding.EncodeToString([]byte("text: " + s)) }
	return f
}

func (f fixture) written(encode func(string) string) fixture { f.encode = encode; return f }

func (f fixture) before(old string) fixture { f.old = old; return f }

// escaped writes s as a JSON text inside a JSON string may: with its first letter
// escaped.
func escaped(s string) string {
	const hex = "0123456789abcdef"
	return `{\"a\":\"\\u00` + string(hex[s[0]>>4]) + string(hex[s[0]&15]) + s[1:] + `\"}`
}

// coverageRows are every kind of message and of content that an upstream can send.
var coverageRows = []fixture{
	inCall("text block", `{"content":[{"type":"text","text":"@"}]}`),
	inCall("text block of a call that failed", `{"content":[{"type":"text","text":"@"}],"isError":true}`),
	inCall("text that is JSON", `{"content":[{"type":"text","text":"{\"a\":\"@\"}"}]}`),
	inCall("text that is JSON with escapes", `{"content":[{"type":"text","text":"@"}]}`).written(escaped),
	inCall("split over blocks", `{"content":[{"type":"text","text":"@1"},{"type":"text","text":"@2"}]}`),
	inCall("text in image bytes", `{"content":[{"type":"image","mimeType":"image/svg+xml","data":"@"}]}`).inBytes(),
	inCall("text in audio bytes", `{"content":[{"type":"audio","mimeType":"audio/wav","data":"@"}]}`).inBytes(),
	inCall("embedded text", `{"content":[{"type":"resource","resource":{"uri":"memo://a","text":"@"}}]}`),
	inCall("embedded bytes", `{"content":[{"type":"resource","resource":{"uri":"memo://a","blob":"@"}}]}`).inBytes(),
	inCall("link", `{"content":[{"type":"resource_link","uri":"memo://a","name":"a","description":"@"}]}`),
	inCall("block of an unknown kind", `{"content":[{"type":"hologram","beam":["@"]}]}`),
	inCall("annotation of a block", `{"content":[{"type":"text","text":"x","annotations":{"a":"@"}}]}`),
	inCall("structured content", `{"content":[],"structuredContent":{"a":[{"b":"@"}],"n":1.0}}`),
	inCall("both views", `{"content":[{"type":"text","text":"{\"a\":\"@\"}"}],"structuredContent":{"a":"@"}}`),
	inCall("metadata", `{"content":[],"_meta":{"com.example/a":"@"}}`),
	inCall("any member", `{"content":[],"note":{"a":"@"}}`),
	inCall("task in place of a result", `{"resultType":"task","taskId":"task-1","status":"working","statusMessage":"@"}`).before(`{"task":{"taskId":"task-1","status":"working","statusMessage":"@"}}`),

	inRead("text", `{"contents":[{"uri":"memo://a","text":"@"}]`),
	inRead("bytes", `{"contents":[{"uri":"memo://a","blob":"@"}]`).inBytes(),
	inRead("split over contents", `{"contents":[{"uri":"memo://a","text":"@1"},{"uri":"memo://b","text":"@2"}]`),
	inRead("address", `{"contents":[{"uri":"@","text":"x"}]`),

	inPrompt("description", `{"description":"@","messages":[]}`),
	inPrompt("text block", `{"messages":[{"role":"user","content":{"type":"text","text":"@"}}]}`),
	inPrompt("text in image bytes", `{"messages":[{"role":"user","content":{"type":"image","mimeType":"image/svg+xml","data":"@"}}]}`).inBytes(),
	inPrompt("embedded text", `{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"memo://a","text":"@"}}}]}`),
	inPrompt("link", `{"messages":[{"role":"user","content":{"type":"resource_link","uri":"memo://a","name":"a","description":"@"}}]}`),
	inPrompt("split over messages", `{"messages":[{"role":"user","content":{"type":"text","text":"@1"}},{"role":"user","content":{"type":"text","text":"@2"}}]}`),

	{kind: "result", method: "completion/complete", content: "value", message: `{"completion":{"values":["a","@"]}}`, params: completeParams},

	inList("tools/list", "description", `"tools":[{"name":"update_document","description":"@","annotations":{"destructiveHint":false},"inputSchema":{"type":"object"}}]`),
	inList("tools/list", "description of an argument", `"tools":[{"name":"update_document","annotations":{"destructiveHint":false},"inputSchema":{"type":"object","properties":{"a":{"description":"@"}}}}]`),
	inList("tools/list", "value of an argument", `"tools":[{"name":"update_document","annotations":{"destructiveHint":false},"inputSchema":{"type":"object","properties":{"a":{"enum":["@"],"default":"@"}}}}]`),
	inList("tools/list", "title", `"tools":[{"name":"update_document","annotations":{"title":"@","destructiveHint":false},"inputSchema":{"type":"object"}}]`),
	inList("resources/list", "description", `"resources":[{"uri":"memo://a","name":"a","description":"@"}]`),
	inList("resources/list", "name", `"resources":[{"uri":"memo://a","name":"@"}]`),
	inList("resources/templates/list", "description", `"resourceTemplates":[{"uriTemplate":"memo://{a}","name":"a","description":"@"}]`),
	inList("prompts/list", "description", `"prompts":[{"name":"a","description":"@"}]`),
	inList("prompts/list", "description of an argument", `"prompts":[{"name":"a","arguments":[{"name":"b","description":"@"}]}]`),

	{kind: "result", method: "initialize", content: "instructions", message: `{"protocolVersion":"2025-11-25","capabilities":{},"instructions":"@"}`, params: initParams},
	{kind: "result", method: "initialize", content: "name of the server", message: `{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"@"}}`, params: initParams},
	{kind: "result", method: "server/discover", content: "instructions", message: `{"supportedVersions":["2026-07-28"],"capabilities":{},"instructions":"@"}`},
	{kind: "result", method: "server/discover", content: "name of the server", message: `{"supportedVersions":["2026-07-28"],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"@"}}}`},
	plain("ping", ""),
	plain("logging/setLevel", `"level":"info"`),
	plain("resources/subscribe", readParams),
	plain("resources/unsubscribe", readParams),
	plain("subscriptions/listen", `"notifications":{}`),

	inTask("tasks/get", "status message", `{"taskId":"task-1","status":"working","statusMessage":"@"}`),
	inTask("tasks/get", "text block of its result", `{"taskId":"task-1","status":"completed","result":{"content":[{"type":"text","text":"@"}]}}`),
	inTask("tasks/get", "structured content of its result", `{"taskId":"task-1","status":"completed","result":{"content":[],"structuredContent":{"a":"@"}}}`),
	inTask("tasks/get", "message of its error", `{"taskId":"task-1","status":"failed","error":{"code":1,"message":"@"}}`),
	inTask("tasks/get", "question", `{"taskId":"task-1","status":"input_required","inputRequests":{"q":{"method":"elicitation/create","params":{"message":"@"}}}}`),
	inTask("tasks/result", "text block", `{"content":[{"type":"text","text":"@"}]}`),
	inTask("tasks/update", "any member", `{"note":"@"}`),
	inTask("tasks/cancel", "status message", `{"taskId":"task-1","status":"cancelled","statusMessage":"@"}`),
	{kind: "result", method: "tasks/list", content: "status message", message: `{"tasks":[{"taskId":"task-1","status":"working","statusMessage":"@"}]}`},

	{kind: "result", method: "com.example/count", content: "any text", message: `{"a":["@"],"n":1.0}`},

	{kind: "error", method: "tools/call", content: "message", message: `{"code":-32000,"message":"@"}`, params: callParams, name: "update_document"},
	{kind: "error", method: "tools/call", content: "data that is a text", message: `{"code":-32000,"message":"x","data":"@"}`, params: callParams, name: "update_document"},
	{kind: "error", method: "tools/call", content: "data that is an object", message: `{"code":-32000,"message":"x","data":{"a":["@"]}}`, params: callParams, name: "update_document"},
	{kind: "error", method: "tools/call", content: "page to go to", message: `{"code":-32042,"message":"x","data":{"elicitations":[{"mode":"url","elicitationId":"1","url":"https://example.com/","message":"@"}]}}`, params: callParams, name: "update_document"},
	{kind: "error", method: "resources/read", content: "message", message: `{"code":-32002,"message":"@"}`, params: readParams, name: "memo://a"},
	{kind: "error", method: "prompts/get", content: "message", message: `{"code":-32602,"message":"@"}`, params: promptParams, name: "greet"},

	question("elicitation/create", "message", "tools/call", callParams, "update_document", `{"mode":"form","message":"@","requestedSchema":{"type":"object","properties":{}}}`),
	question("elicitation/create", "description in a form", "tools/call", callParams, "update_document", `{"message":"x","requestedSchema":{"type":"object","properties":{"a":{"type":"string","description":"@"}}}}`),
	question("elicitation/create", "page to go to", "tools/call", callParams, "update_document", `{"mode":"url","elicitationId":"1","message":"x","url":"https://example.com/@"}`),
	question("elicitation/create", "message", "prompts/get", promptParams, "greet", `{"message":"@"}`),
	question("elicitation/create", "message", "resources/read", readParams, "memo://a", `{"message":"@"}`),
	question("sampling/createMessage", "message", "tools/call", callParams, "update_document", `{"messages":[{"role":"user","content":{"type":"text","text":"@"}}],"maxTokens":1}`),
	question("sampling/createMessage", "system prompt", "tools/call", callParams, "update_document", `{"messages":[],"systemPrompt":"@","maxTokens":1}`),
	question("roots/list", "any member", "tools/call", callParams, "update_document", `{"_meta":{"com.example/a":"@"}}`),

	askedFor("sampling/createMessage", "message", `{"messages":[{"role":"user","content":{"type":"text","text":"@"}}],"maxTokens":1}`),
	askedFor("sampling/createMessage", "split over messages", `{"messages":[{"role":"user","content":{"type":"text","text":"@1"}},{"role":"user","content":{"type":"text","text":"@2"}}],"maxTokens":1}`),
	askedFor("sampling/createMessage", "text in image bytes", `{"messages":[{"role":"user","content":{"type":"image","mimeType":"image/svg+xml","data":"@"}}],"maxTokens":1}`).inBytes(),
	askedFor("sampling/createMessage", "system prompt", `{"messages":[],"systemPrompt":"@","maxTokens":1}`),
	askedFor("sampling/createMessage", "description of a tool", `{"messages":[],"maxTokens":1,"tools":[{"name":"t","description":"@","inputSchema":{"type":"object"}}]}`),
	askedFor("sampling/createMessage", "result of a tool", `{"messages":[{"role":"user","content":[{"type":"tool_result","toolUseId":"1","content":[{"type":"text","text":"@"}]}]}],"maxTokens":1}`),
	askedFor("elicitation/create", "message", `{"message":"@","requestedSchema":{"type":"object","properties":{}}}`),
	askedFor("elicitation/create", "description in a form", `{"message":"x","requestedSchema":{"type":"object","properties":{"a":{"type":"string","description":"@"}}}}`),
	askedFor("elicitation/create", "choice in a form", `{"message":"x","requestedSchema":{"type":"object","properties":{"a":{"type":"string","oneOf":[{"const":"@","title":"@"}]}}}}`),
	askedFor("elicitation/create", "page to go to", `{"mode":"url","elicitationId":"1","message":"x","url":"https://example.com/@"}`),
	askedFor("roots/list", "any member", `{"_meta":{"com.example/a":"@"}}`),
	askedFor("ping", "any member", `{"_meta":{"com.example/a":"@"}}`),
	askedFor("tasks/get", "any member", `{"taskId":"1","note":"@"}`),
	askedFor("tasks/list", "any member", `{"note":"@"}`),
	askedFor("tasks/result", "any member", `{"taskId":"1","note":"@"}`),
	askedFor("tasks/cancel", "any member", `{"taskId":"1","note":"@"}`),

	notice("notifications/progress", "message", `{"progressToken":7,"progress":1.0,"message":"@"}`),
	notice("notifications/progress", "split over messages", "{\"progressToken\":7,\"progress\":1,\"message\":\"@1\"}\n{\"progressToken\":7,\"progress\":2,\"message\":\"@2\"}"),
	notice("notifications/message", "data that is a text", `{"level":"info","data":"@"}`),
	notice("notifications/message", "data that is an object", `{"level":"info","data":{"a":[{"b":"@"}],"n":1.0}}`),
	notice("notifications/message", "name of the logger", `{"level":"info","logger":"@","data":1}`),
	notice("notifications/message", "split over messages", "{\"level\":\"info\",\"data\":\"@1\"}\n{\"level\":\"info\",\"data\":\"@2\"}"),
	notice("notifications/cancelled", "reason", `{"requestId":"$ASKED","reason":"@"}`),
	notice("notifications/tools/list_changed", "any member", `{"_meta":{"com.example/a":"@"}}`),
	notice("notifications/prompts/list_changed", "any member", `{"_meta":{"com.example/a":"@"}}`),
	notice("notifications/resources/list_changed", "any member", `{"_meta":{"com.example/a":"@"}}`),
	notice("notifications/resources/updated", "any member", `{"uri":"memo://a","note":"@"}`),
	notice("notifications/elicitation/complete", "any member", `{"elicitationId":"1","note":"@"}`),
	notice("notifications/tasks/status", "status message", `{"taskId":"task-1","status":"working","statusMessage":"@"}`),
	notice("notifications/tasks", "status message", `{"taskId":"task-1","status":"working","statusMessage":"@"}`),
	notice("notifications/tasks", "text block of its result", `{"taskId":"task-1","status":"completed","result":{"content":[{"type":"text","text":"@"}]}}`),
	notice("notifications/subscriptions/acknowledged", "any member", `{"_meta":{"io.modelcontextprotocol/subscriptionId":$ID},"notifications":{},"note":"@"}`),
	notice("notifications/com.example/tick", "any text", `{"a":["@"],"n":1.0}`),
}
