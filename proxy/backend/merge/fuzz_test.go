package merge

import (
	"bytes"
	"testing"

	"mcp-sidecar/proxy/wire"
)

// FuzzFromMember: whatever a server says, the client reads a well-formed message
// of the same kind, and an answer to it goes back under the server's own bytes.
func FuzzFromMember(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"_meta":{"progressToken":"a:\u0062"}}}`,
		`{"jsonrpc":"2.0","id":"\u00e9\"","method":"ping"}`,
		`{"jsonrpc":"2.0","id":9007199254740993,"result":{"taskId":"t","task":{"taskId":"\ud83d\ude00"},"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"x"}}}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":-1.5e3}}`,
		`{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":""}}`,
		`{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}`,
	} {
		f.Add([]byte(seed))
	}
	g := merge(f, results(``), results(``))
	c := &carriage{g: g.Servers, parts: g.participants(bothOpen)}
	p := c.parts[0]
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := wire.Scan(raw, wire.Limits{})
		if err != nil {
			return
		}
		ev, ok, err := c.fromMember(t.Context(), m, wire.Event{Data: raw}, p)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if !ok {
			return
		}
		out, err := wire.Scan(ev.Data, wire.Limits{})
		if err != nil || out.Kind != m.Kind || out.Method != m.Method {
			t.Fatalf("%s becomes %s: %v", raw, ev.Data, err)
		}
		if m.Kind != wire.Request {
			return
		}
		server, id, ok := unmark(out.Text(out.ID))
		if !ok || server != p.Name || !bytes.Equal(id, m.Value(m.ID)) {
			t.Fatalf("the id %s becomes %s, which is taken for %q's %s", m.Value(m.ID), out.Value(out.ID), server, id)
		}
	})
}
