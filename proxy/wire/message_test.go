package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestScanRefuses(t *testing.T) {
	deep := func(n int) string {
		return `{"jsonrpc":"2.0","id":1,"method":"m","params":` + strings.Repeat(`{"a":`, n) + `1` + strings.Repeat(`}`, n) + `}`
	}
	for _, tt := range []struct {
		name, raw string
		code      int
	}{
		{"empty", ``, CodeParse},
		{"not JSON", `hello`, CodeParse},
		{"cut short", `{"jsonrpc":"2.0","id":1,"method":"ping"`, CodeParse},
		{"two values", `{"jsonrpc":"2.0","id":1,"method":"ping"}{}`, CodeParse},
		{"trailing comma", `{"jsonrpc":"2.0","id":1,"method":"ping",}`, CodeParse},
		{"comment", `{"jsonrpc":"2.0",/**/"id":1,"method":"ping"}`, CodeParse},
		{"single quotes", `{'jsonrpc':"2.0"}`, CodeParse},
		{"leading zero", `{"jsonrpc":"2.0","id":01,"method":"ping"}`, CodeParse},
		{"byte order mark", "\ufeff" + `{"jsonrpc":"2.0","id":1,"method":"ping"}`, CodeParse},
		{"invalid UTF-8 in a value", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\xff\"}", CodeParse},
		{"invalid UTF-8 in a name", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"\xc0\xaf\":1}", CodeParse},
		{"lone surrogate", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\ud800"}}`, CodeParse},
		{"UTF-16", "{\x00\"\x00}\x00", CodeParse},
		{"control character in a string", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\nb\"}", CodeParse},
		{"duplicate method", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`, CodeInvalidRequest},
		{"duplicate after unescaping", `{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call"}`, CodeInvalidRequest},
		{"duplicate deep inside", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":{"a":[{"x":1,"x":2}]}}}`, CodeInvalidRequest},
		{"case variant of method", `{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}`, CodeInvalidRequest},
		{"case variant of params, Unicode fold", `{"jsonrpc":"2.0","id":1,"method":"ping","param` + "\u017f" + `":{}}`, CodeInvalidRequest},
		{"NUL in a name", `{"jsonrpc":"2.0","id":1,"method":"ping","method\u0000":"x"}`, CodeInvalidRequest},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, CodeInvalidRequest},
		{"string", `"ping"`, CodeInvalidRequest},
		{"no version", `{"id":1,"method":"ping"}`, CodeInvalidRequest},
		{"wrong version", `{"jsonrpc":"1.0","id":1,"method":"ping"}`, CodeInvalidRequest},
		{"version as number", `{"jsonrpc":2.0,"id":1,"method":"ping"}`, CodeInvalidRequest},
		{"null id", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, CodeInvalidRequest},
		{"object id", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, CodeInvalidRequest},
		{"boolean id", `{"jsonrpc":"2.0","id":true,"method":"ping"}`, CodeInvalidRequest},
		{"empty method", `{"jsonrpc":"2.0","id":1,"method":""}`, CodeInvalidRequest},
		{"method as number", `{"jsonrpc":"2.0","id":1,"method":7}`, CodeInvalidRequest},
		{"params as array", `{"jsonrpc":"2.0","id":1,"method":"m","params":[]}`, CodeInvalidRequest},
		{"request with a result", `{"jsonrpc":"2.0","id":1,"method":"m","result":{}}`, CodeInvalidRequest},
		{"result and error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`, CodeInvalidRequest},
		{"result without id", `{"jsonrpc":"2.0","result":{}}`, CodeInvalidRequest},
		{"neither", `{"jsonrpc":"2.0","id":1}`, CodeInvalidRequest},
		{"too deep", deep(64), CodeInvalidRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Scan([]byte(tt.raw), Limits{})
			var e *Error
			if !errors.As(err, &e) || e.Code != tt.code {
				t.Fatalf("Scan(%.80q) = %v, want code %d", tt.raw, err, tt.code)
			}
		})
	}
	if _, err := Scan([]byte(deep(63)), Limits{}); err != nil {
		t.Errorf("63 objects below the message are within the limit: %v", err)
	}
}

func TestScanLimits(t *testing.T) {
	members := func(n int) []byte {
		var b strings.Builder
		b.WriteString(`{"jsonrpc":"2.0","method":"m"`) // two members
		for i := range n - 2 {
			fmt.Fprintf(&b, `,"k%d":0`, i)
		}
		return []byte(b.String() + `}`)
	}
	if _, err := Scan(members(10), Limits{Keys: 10}); err != nil {
		t.Errorf("10 of 10 members: %v", err)
	}
	if _, err := Scan(members(11), Limits{Keys: 10}); err == nil {
		t.Error("11 members passed a limit of 10")
	}
	texts := []byte(`{"jsonrpc":"2.0","method":"m","x":["a","b","c"]}`) // 4 + 3 values
	if _, err := Scan(texts, Limits{Values: 7}); err != nil {
		t.Errorf("7 of 7 values: %v", err)
	}
	if _, err := Scan(texts, Limits{Values: 6}); err == nil {
		t.Error("7 values passed a limit of 6")
	}
}

func TestScanIndexes(t *testing.T) {
	raw := []byte(` {"jsonrpc" : "2.0", "id":9007199254740993, "method":"tools/call","params":{"name":"a\u0062","arguments":{"x":[1,{"y":"z"},true],"e":""}} } `)
	m, err := Scan(raw, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Kind != Request || m.Method != "tools/call" || string(m.Value(m.ID)) != "9007199254740993" {
		t.Errorf("kind %v, method %q, id %s", m.Kind, m.Method, m.Value(m.ID))
	}
	if got := m.Text(m.Member(m.Params, "name")); got != "ab" {
		t.Errorf("name %q, want %q", got, "ab")
	}
	if got := string(m.Value(m.At(m.Params, "arguments", "x"))); got != `[1,{"y":"z"},true]` {
		t.Errorf("x is %s", got)
	}
	if i := m.At(m.Params, "arguments", "nothing", "below"); i != Absent {
		t.Errorf("a path that leads nowhere gave node %d", i)
	}
	x := m.At(m.Params, "arguments", "x")
	if !m.Nodes[x].Sparse {
		t.Error("an array with unindexed values is not marked as sparse")
	}
	if e := m.At(m.Params, "arguments", "e"); e == Absent || m.Text(e) != "" {
		t.Errorf("the member behind a sparse array: node %d", e)
	}
}

func TestScanKinds(t *testing.T) {
	for raw, want := range map[string]Kind{
		`{"jsonrpc":"2.0","id":"x","method":"m"}`:        Request,
		`{"jsonrpc":"2.0","method":"m"}`:                 Notification,
		`{"jsonrpc":"2.0","id":1,"result":null}`:         Response,
		`{"jsonrpc":"2.0","id":null,"error":{"code":1}}`: Response,
		`{"jsonrpc":"2.0","error":{"code":1}}`:           Response,
	} {
		if m, err := Scan([]byte(raw), Limits{}); err != nil || m.Kind != want {
			t.Errorf("%s: %v, %v; want %v", raw, m, err, want)
		}
	}
}

func TestEdit(t *testing.T) {
	for _, tt := range []struct{ name, object, drop, want string }{
		{"only", `{"a":1}`, "a", `{}`},
		{"first", `{"a":1, "b":2}`, "a", `{ "b":2}`},
		{"last", `{"a":1 , "b":2 }`, "b", `{"a":1  }`},
		{"middle", `{"a":1,"b":2,"c":3}`, "b", `{"a":1,"c":3}`},
		{"first two", `{"a":1,"b":2,"c":3}`, "ab", `{"c":3}`},
		{"last two", `{"a":1,"b":2,"c":3}`, "bc", `{"a":1}`},
		{"outer two", `{"a":1,"b":2,"c":3}`, "ac", `{"b":2}`},
		{"all", `{"a":1,"b":2,"c":3}`, "abc", `{}`},
		{"none", `{"a":1}`, "", `{"a":1}`},
		{"commas in values", `{"a":",","b":[1,2],"c":{"x":1,"y":2}}`, "ab", `{"c":{"x":1,"y":2}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Scan([]byte(`{"jsonrpc":"2.0","method":"m","params":`+tt.object+`}`), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			drop := func(i int) bool { return strings.Contains(tt.drop, m.Name(i)) }
			if got := edited(t, m, m.Edit(m.Params, drop)); got != tt.want {
				t.Errorf("without %q: %s, want %s", tt.drop, got, tt.want)
			}
			added := edited(t, m, m.Edit(m.Params, drop, Field{"z", []byte(`"new"`)}))
			if want := strings.TrimSuffix(tt.want, "}"); tt.want == "{}" && added != `{"z":"new"}` ||
				tt.want != "{}" && added != want+`,"z":"new"}` {
				t.Errorf("with a member added: %s", added)
			}
		})
	}
}

func edited(t *testing.T, m *Message, patches []Patch) string {
	t.Helper()
	raw, err := Splice(m.Raw, patches)
	if err != nil {
		t.Fatal(err)
	}
	after, err := Scan(raw, Limits{})
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return string(after.Value(after.Params))
}

func TestSpliceRefusesOverlap(t *testing.T) {
	for name, patches := range map[string][]Patch{
		"overlap":      {{0, 3, nil}, {2, 4, nil}},
		"out of range": {{0, 9, nil}},
		"backwards":    {{3, 2, nil}},
		"negative":     {{-1, 2, nil}},
	} {
		if _, err := Splice([]byte("abcd"), patches); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	within := []Patch{{1, 2, []byte("lost")}, {0, 3, []byte("-")}, {2, 3, nil}, {0, 0, []byte(">")}, {3, 3, []byte("<")}}
	if got, err := Splice([]byte("abcd"), within); string(got) != ">-<d" || err != nil {
		t.Errorf("patches inside a larger one: %s, %v", got, err)
	}
	if got, err := Splice([]byte("abcd"), []Patch{{1, 3, []byte("changed")}, {1, 3, nil}}); string(got) != "ad" || err != nil {
		t.Errorf("what is changed and removed is removed: %s, %v", got, err)
	}
	raw := []byte("abcd")
	if got, _ := Splice(raw, nil); &got[0] != &raw[0] {
		t.Error("bytes were copied although nothing changed")
	}
	if got, _ := Splice(raw, []Patch{{4, 4, []byte("x")}, {0, 0, []byte("1")}, {0, 0, []byte("2")}, {1, 2, nil}}); string(got) != "12acdx" {
		t.Errorf("got %s", got)
	}
}

func TestFindID(t *testing.T) {
	for _, tt := range []struct{ name, head, want string }{
		{"first", `{"id":7,"params":{"x":"cut of`, `7`},
		{"behind a value", `{"jsonrpc":"2.0","params":{"id":9},"id":"a\u0062","method":"cu`, `"a\u0062"`},
		{"cut before", `{"jsonrpc":"2.0","params":{"id":9`, `null`},
		{"an object", `{"id":{},"x":1}`, `null`},
		{"no object", `[1]`, `null`},
		{"empty", ``, `null`},
		{"cut inside", `{"id":"abc`, `null`},
		{"cut inside a number", `{"id":12`, `null`},
		{"cut behind a number", `{"id":12,`, `12`},
	} {
		if got := string(FindID([]byte(tt.head))); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
