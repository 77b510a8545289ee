package wire

import "testing"

func TestOutlined(t *testing.T) {
	for _, row := range []struct {
		name, raw           string
		kind                Kind
		id, method, cancels string
	}{
		{"request", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, Request, "1", "ping", ""},
		{"members in another order", ` { "method" : "tools/call" , "params":{"id":7,"method":"x"}, "id" : "a\"b" }`, Request, `"a\"b"`, "tools/call", ""},
		{"escaped names", `{"\u0069d":9007199254740993,"metho\u0064":"p\u0069ng"}`, Request, "9007199254740993", "ping", ""},
		{"notification", `{"method":"notifications/initialized"}`, Notification, "", "notifications/initialized", ""},
		{"cancels a number", `{"method":"notifications/cancelled","params":{"requestId":12,"reason":"x"}}`, Notification, "", "notifications/cancelled", "12"},
		{"cancels a string", `{"params":{"reason":{"requestId":1},"requestId":"x"},"method":"notifications/cancelled"}`, Notification, "", "notifications/cancelled", `"x"`},
		{"cancels nothing", `{"method":"notifications/cancelled"}`, Notification, "", "notifications/cancelled", ""},
		{"cancels what is no id", `{"method":"notifications/cancelled","params":{"requestId":[1]}}`, Notification, "", "notifications/cancelled", ""},
		{"params are no object", `{"method":"notifications/cancelled","params":[{"requestId":1}]}`, Notification, "", "notifications/cancelled", ""},
		{"a request is no cancellation", `{"id":1,"method":"notifications/cancelled","params":{"requestId":1}}`, Request, "1", "notifications/cancelled", ""},
		{"response", `{"id":1,"result":{}}`, Response, "", "", ""},
		{"error", `{"error":{"code":1,"message":"x"}}`, Response, "", "", ""},
		{"null id", `{"id":null,"method":"ping"}`, None, "", "", ""},
		{"object id", `{"id":{},"method":"ping"}`, None, "", "", ""},
		{"method is no string", `{"id":1,"method":7}`, None, "", "", ""},
		{"two ids", `{"id":1,"id":2,"method":"ping"}`, None, "", "", ""},
		{"batch", `[{"id":1,"method":"ping"}]`, None, "", "", ""},
		{"cut off", `{"id":1,"method":"ping"`, None, "", "", ""},
		{"cut in a value", `{"id":1,"method":"pi`, None, "", "", ""},
		{"nothing", ``, None, "", "", ""},
		{"text", `hello`, None, "", "", ""},
	} {
		o := Outlined([]byte(row.raw))
		if o.Kind != row.kind || string(o.ID) != row.id || o.Method != row.method || string(o.Cancels) != row.cancels {
			t.Errorf("%s: %v id %s method %q cancels %s", row.name, o.Kind, o.ID, o.Method, o.Cancels)
		}
	}
}

func TestIDKey(t *testing.T) {
	for _, row := range []struct {
		a, b string
		same bool
	}{
		{`"a\u0062"`, `"ab"`, true}, {`1`, `1`, true}, {`1`, `"1"`, false}, {`"\"1"`, `"1"`, false}, {`""`, ``, false},
	} {
		if same := IDKey([]byte(row.a)) == IDKey([]byte(row.b)); same != row.same {
			t.Errorf("%s and %s: %v", row.a, row.b, same)
		}
	}
}

// What the outline says of an acceptable message is what the scan says of it.
func FuzzOutlineAgreesWithScan(f *testing.F) {
	for _, raw := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":"x","result":{}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"\u0031"}}`, `{"jsonrpc":"2.0","id":1.5,"method":"a","params":{}}`,
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Scan(raw, Limits{})
		if err != nil {
			return // what is refused needs no order
		}
		o := Outlined(raw)
		if o.Kind != m.Kind || o.Method != m.Method {
			t.Fatalf("outline %v %q, scan %v %q", o.Kind, o.Method, m.Kind, m.Method)
		}
		if m.Kind == Request && string(o.ID) != string(m.Value(m.ID)) {
			t.Fatalf("outline id %s, scan %s", o.ID, m.Value(m.ID))
		}
		if m.Kind == Notification && m.Method == cancelled {
			id := m.Member(m.Params, "requestId")
			if scalar := id != Absent && (m.Nodes[id].Kind == '"' || m.Nodes[id].Kind == '0'); scalar && string(o.Cancels) != string(m.Value(id)) {
				t.Fatalf("outline cancels %s, scan %s", o.Cancels, m.Value(id))
			}
		}
	})
}
