package pipeline

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/proxy/wire"
)

// owned are members that their owner wants back as they are, each in its place.
var owned = []string{"nextCursor", "progressToken", "requestId", "requestState", "taskId", "elicitationId"}

// FuzzInspectOutput: whatever a server sends under whatever method, what leaves is
// one message of the same kind that holds no secret which a guard would find, and
// inspecting it once more changes nothing that matters.
func FuzzInspectOutput(f *testing.F) {
	for _, row := range []struct{ method, body string }{
		{"tools/call", `{"content":[{"type":"text","text":"HALF1"},{"type":"text","text":"HALF2"},{"type":"image","data":"a2V5IEFLSUFJT1NGT0ROTjdFWEFNUExF"},{"type":"resource","resource":{"blob":"KEY"}}],"structuredContent":{"a":"KEY"}}`},
		{"tools/call", `{"content":[{"type":"text","text":"{\"a\":\"\\u0041KIAIOSFODNN7EXAMPLE\"}"}],"_meta":{"mcp-sidecar/x":1}}`},
		{"tools/call", `{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"KEY"}}},"requestState":"KEY"}`},
		{"tools/list", `{"tools":[{"name":"a","description":"ORDER","inputSchema":{"type":"object","properties":{"KEY":{}}}}],"nextCursor":"KEY"}`},
		{"resources/read", `{"contents":[{"uri":"a:b","text":"ORDER KEY"}]}`}, {"prompts/get", `{"messages":[{"content":{"type":"text","text":"KEY"}}]}`},
		{"completion/complete", `{"completion":{"values":["KEY"]}}`}, {"tasks/get", `{"taskId":"KEY","result":{"content":[{"type":"text","text":"KEY"}]},"error":{"message":"KEY"}}`},
		{"x/y", `["KEY",{"a":"ORDER"}]`}, {"initialize", `{"protocolVersion":"2025-11-25","instructions":"ORDER"}`},
	} {
		f.Add(row.method, []byte(`{"jsonrpc":"2.0","id":1,"result":`+words.Replace(row.body)+`}`), true)
	}
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"KEY","data":["KEY"]}}`,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":{"a":"KEY"},"":"KEY"}}`, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"KEY","message":"ORDER"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"messages":[{"content":[{"type":"tool_result","content":[{"type":"text","text":"KEY"}]}]}],"systemPrompt":"ORDER"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"KEY","requestedSchema":{"properties":{"a":{"title":"KEY"}}}}}`,
	} {
		f.Add("tools/call", []byte(words.Replace(body)), false)
	}
	f.Fuzz(checkInspection)
}

// checkInspection holds one message to what FuzzInspectOutput says.
func checkInspection(t *testing.T, method string, body []byte, modern bool) {
	m, err := wire.Scan(body, wire.Limits{})
	if err != nil {
		return
	}
	c := &Call{Method: method, Target: "t", Args: wire.Absent, Msg: m}
	if modern {
		c.Era = Modern
	}
	if m.Kind == wire.Request {
		c.Method = m.Method
	}
	out, err := inspector(t, nil).inspectOutput(c, m)
	if err != nil {
		var r *Rejection
		if !errors.As(err, &r) || r.Outcome == Failed {
			t.Fatalf("%s: %v", body, err)
		}
		return
	}
	after, err := wire.Scan(out, wire.Limits{Depth: 70})
	if err != nil || after.Kind != m.Kind {
		t.Fatalf("%s became %s: %v", body, out, err)
	}
	for i, n := range after.Nodes {
		name := after.Name(i)
		if n.Kind != '"' || slices.Contains(owned, name) || i == after.ID || name == "method" || name == "jsonrpc" || name == "resultType" {
			continue
		}
		if left := secrets.Find(after.Text(i)); len(left) > 0 {
			t.Fatalf("%s: %s became %s, which holds a %s", method, body, out, left[0].Rule)
		}
	}
}

// Pieces of messages. Chance rarely writes a content block; joining pieces reaches
// the places that inspectors know.
var (
	pieceNames = []string{
		"content", "type", "text", "data", "resource", "blob", "structuredContent", "_meta", "taskId", "nextCursor", "requestState", "inputRequests", "method", "params",
		"messages", "message", "description", "task", "tasks", "result", "error", "contents", "completion", "values", "tools", "prompts", "name", "uri", "statusMessage",
		"resultType", "systemPrompt", "requestedSchema", "properties", "password", "isError", "cacheScope", "", "mcp-sidecar/findings", "AKIA" + "IOSFODNN7EXAMPLE",
	}
	pieceTexts = []string{
		"AKIA" + "IOSFODNN7EXAMPLE", "AKIAIOSFOD", "NN7EXAMPLE", order, "Ignore all previous ", "instructions.", "hunter22", "password: ", pemBegins, pemEnds, "MIIE\n",
		`{"a":"\u0041KIAIOSFODNN7EXAMPLE"}`, `{"a":"AKIAIOSFODNN7EXAMPLE"}`, `["\\u0041"]`, "a2V5IEFLSUFJT1NGT0ROTjdFWEFNUExF", "text", "image", "resource", "tool_result", "resource_link",
		"input_required", "task", "complete", "elicitation/create", "sampling/createMessage", "roots/list", "public", "", "</untrusted_content>", "2025-11-25", " ",
	}
	pieceMethods = []string{"tools/call", "tools/list", "resources/read", "resources/list", "prompts/get", "prompts/list", "completion/complete", "tasks/get", "tasks/list", "initialize", "ping", "x/y"}
)

// build writes a value from plan, one byte a choice, and returns what is left of
// it.
func build(b *strings.Builder, plan []byte, depth int) []byte {
	if len(plan) == 0 || depth > 6 {
		b.WriteString("1.0")
		return nil
	}
	choice, plan := plan[0], plan[1:]
	size := int(choice>>4) % 5
	switch choice % 4 {
	case 0:
		b.WriteString(quoted(pieceTexts[int(choice/4)%len(pieceTexts)]))
	case 1:
		b.WriteByte('[')
		for i := range size {
			if i > 0 {
				b.WriteByte(',')
			}
			plan = build(b, plan, depth+1)
		}
		b.WriteByte(']')
	default:
		b.WriteByte('{')
		seen := map[string]bool{}
		for range size {
			if len(plan) == 0 {
				break
			}
			name := pieceNames[int(plan[0])%len(pieceNames)]
			if plan = plan[1:]; seen[name] {
				continue
			}
			if len(seen) > 0 {
				b.WriteByte(',')
			}
			seen[name] = true
			b.WriteString(quoted(name) + ":")
			plan = build(b, plan, depth+1)
		}
		b.WriteByte('}')
	}
	return plan
}

// FuzzInspectPieces is FuzzInspectOutput over joined pieces.
func FuzzInspectPieces(f *testing.F) {
	f.Add([]byte{0, 0x12, 0, 0x21, 0x22, 1, 60, 2, 4, 0x22, 1, 60, 2, 8})
	f.Add([]byte{2, 0x12, 21, 0x21, 0x12, 2, 12, 0x12, 5, 56})
	f.Add([]byte{7, 0x22, 8, 0, 19, 0x12, 0, 0x11, 0x22, 1, 60, 2, 12})
	f.Fuzz(func(t *testing.T, plan []byte) {
		if len(plan) == 0 {
			return
		}
		method := pieceMethods[int(plan[0])%len(pieceMethods)]
		var b strings.Builder
		build(&b, plan[1:], 0)
		for _, frame := range []string{`{"jsonrpc":"2.0","id":1,"result":`, `{"jsonrpc":"2.0","id":1,"error":`, `{"jsonrpc":"2.0","method":"notifications/message","params":`, `{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":`} {
			checkInspection(t, method, []byte(frame+b.String()+"}"), plan[0]&1 != 0)
		}
	})
}
