package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// differentials are messages that two parsers have read differently, and what
// lies at the edges of a limit.
func differentials() []string {
	call := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + params + `}}`
	}
	nested := func(depth int) string { // the message and params are two of them
		return call(`"a":` + strings.Repeat("[", depth-2) + strings.Repeat("]", depth-2))
	}
	return []string{
		call(`"name":"a","arguments":{"x":["\u00e9\\",{"y":null}]}`),
		`{"jsonrpc":"2.0","id":"x","result":{"content":[{"type":"text","text":"a\nb"}],"n":1e400}}`,
		`{"jsonrpc":"2.0","method":"m","params":{"a":"😀","A":1}}`,
		`[1,2]`, `{"a":1,"a":2}`, `"x"`, `1`, `null`, ``,
		// CVE-2026-27896: members matched without regard to case.
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}`,
		`{"jsonrpc":"2.0","id":1,"METHOD":"tools/call","params":{"name":"a"}}`,
		call(`"name":"safe","NAME":"evil"`),
		`{"jsonrpc":"2.0","id":1,"method":"m","param` + "\u017f" + `":{}}`,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"re\u017fult\":{}}",
		call("\"to\u212aen\":1,\"token\":2"),
		// GHSA-q382-vc8q-7jhj: names that end at a NUL.
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","method\u0000":"tools/call"}`,
		call(`"name":"safe","name\u0000x":"evil"`),
		call(`"name":"a\u0000b"`),
		// Duplicates, plain and escaped, on every level.
		call(`"name":"safe","name":"evil"`),
		call(`"name":"safe","\u006eame":"evil"`),
		call(`"a":[{"x":1,"\u0078":2}]`),
		call(`"\ud83d\ude00":1,"😀":2`),
		`{"jsonrpc":"2.0","id":1,"method":"m","\u0069d":2}`,
		call(`{"x":1,"x":2}:3`), call(`["a"]:1`), call(`1:1`), call(`"a":1,}`), call(`,"a":1`),
		// What stands before and behind.
		"\ufeff" + `{"jsonrpc":"2.0","method":"m"}`,
		`{"jsonrpc":"2.0","method":"m"}` + "\x00",
		`{"jsonrpc":"2.0","method":"m"} {}`, `{"jsonrpc":"2.0","method":"m"}]`, `{"jsonrpc":"2.0","method":"m"},`,
		"\v" + `{"jsonrpc":"2.0","method":"m"}`, `{"jsonrpc":"2.0","method":"m"}` + "\u00a0", " \t\r\n" + `{"jsonrpc":"2.0","method":"m"}` + " \t\r\n",
		// Numbers.
		call(`"a":1e400,"b":-0,"c":1E-999999999,"d":9007199254740993,"e":1.0,"f":0.1e+1`),
		call(`"a":-`), call(`"a":01`), call(`"a":1.`), call(`"a":.5`), call(`"a":+1`), call(`"a":1e`), call(`"a":0x1`), call(`"a":NaN`), call(`"a":-Infinity`),
		`{"jsonrpc":"2.0","id":-0,"method":"m"}`, `{"jsonrpc":"2.0","id":1e400,"method":"m"}`, `{"jsonrpc":"2.0","id":1.5,"method":"m"}`,
		// Text.
		call(`"a":"\ud800"`), call(`"a":"\udc00\ud800"`), call(`"a":"\ud83d\ude00"`), call(`"a":"\uD83D"`), call(`"a":"\ud800\u0041"`),
		call("\"a\":\"\xed\xa0\x80\""), call("\"a\":\"\xc0\xaf\""), call("\"a\":\"\xf4\x90\x80\x80\""), call("\"\xff\":1"),
		call("\"a\":\"\x01\""), call(`"a":"\x41"`), call(`"a":"\u00"`), call("\"a\":\"\u2028\u2029\ufffd\ufffe\""), call(`"a":"\/\b\f"`),
		// Depth 63, 64 and 65; members and values at the small limits of the target.
		nested(63), nested(64), nested(65), strings.Repeat("[", 10_001),
		call(`"a":1,"b":2`), call(`"a":1,"b":2,"c":3`), call(`"a":1,"b":2,"c":3,"d":4`), call(`"a":["b","c","d","e"]`),
		// Envelopes.
		`{"jsonrpc":"2.0","id":null,"method":"m"}`, `{"jsonrpc":"2.0","id":null,"error":{}}`, `{"jsonrpc":"2.0","error":{}}`, `{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`,
		`{"jsonrpc":"2.0","id":1,"method":"m","result":{}}`, `{"jsonrpc":2.0,"method":"m"}`, `{"jsonrpc":"2.0","id":{},"method":"m"}`, `{"jsonrpc":"2.0","id":1,"result":{},"params":{}}`,
		`{"jsonrpc":"2.0","id":1,"method":""}`, `{"jsonrpc":"2.0","id":1,"method":"m","params":[]}`, `{"jsonrpc":"2.0","id":1,"method":"m","params":null}`, `{"\u006asonrpc":"2.0","method":"\u006d"}`,
	}
}

// FuzzScan: Scan accepts exactly what nothing speaks against; what it refuses has
// one of the named reasons, and truly that one. What it accepts it reads as
// encoding/json and a strict jsontext do: every member, every string.
func FuzzScan(f *testing.F) {
	for _, seed := range differentials() {
		f.Add([]byte(seed), uint8(0), uint8(0), uint8(0))
		f.Add([]byte(seed), uint8(4), uint8(7), uint8(9))
	}
	f.Fuzz(func(t *testing.T, raw []byte, depth, keys, values uint8) {
		checkScan(t, raw, Limits{Depth: int(depth), Keys: int(keys), Values: int(values)})
	})
}

// FuzzScanBuilt is FuzzScan on messages that a grammar builds: random bytes
// seldom nest, repeat a name or escape one.
func FuzzScanBuilt(f *testing.F) {
	f.Add([]byte("a call with some arguments"), uint8(0))
	f.Add(bytes.Repeat([]byte{3, 141, 59, 26, 53, 58, 97, 93, 238, 46}, 20), uint8(0))
	f.Add(bytes.Repeat([]byte{200, 7, 31}, 50), uint8(12))
	f.Fuzz(func(t *testing.T, choices []byte, limit uint8) {
		g := grammar{choices: choices}
		g.message()
		checkScan(t, g.out, Limits{Depth: int(limit), Keys: 2 * int(limit), Values: 3 * int(limit)})
	})
}

func checkScan(t *testing.T, raw []byte, lim Limits) {
	t.Helper()
	m, err := Scan(slices.Clone(raw), lim)
	bad := judge(raw, lim.orDefault())
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || !bad[reasonOf[e.Text]] {
			t.Fatalf("%q is refused because of %v; what speaks against it: %v", raw, err, bad)
		}
		if want := map[bool]int{true: CodeParse, false: CodeInvalidRequest}[reasonOf[e.Text] == badSyntax]; e.Code != want {
			t.Fatalf("%q is refused with code %d, want %d", raw, e.Code, want)
		}
		return
	}
	if len(bad) > 0 {
		t.Fatalf("%q is accepted, in spite of %v", raw, bad)
	}
	if !bytes.Equal(m.Raw, raw) {
		t.Fatalf("%q became %q", raw, m.Raw)
	}
	checkIndex(t, m)
}

// checkIndex holds m against two decoders and, for what decides, against one that
// folds case.
func checkIndex(t *testing.T, m *Message) {
	t.Helper()
	ours := indexed(m, 0)
	for name, read := range map[string]func([]byte) (tree, error){"jsontext": strict, "encoding/json": lenient} {
		theirs, err := read(m.Raw)
		if err != nil {
			t.Fatalf("%q is accepted, and %s says %v", m.Raw, name, err)
		}
		if !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("%q: the index holds %+v, %s reads %+v", m.Raw, ours, name, theirs)
		}
	}
	var top struct {
		Method                string
		ID                    json.RawMessage
		Params, Result, Error json.RawMessage
	}
	if err := json.Unmarshal(m.Raw, &top); err != nil {
		t.Fatalf("%q: %v", m.Raw, err)
	}
	for _, part := range []struct {
		name        string
		ours, their []byte
	}{
		{"id", m.Value(m.ID), top.ID}, {"method", []byte(m.Method), []byte(top.Method)},
		{"params", m.Value(m.Params), top.Params}, {"result", m.Value(m.Result), top.Result}, {"error", m.Value(m.Err), top.Error},
	} {
		if !bytes.Equal(part.ours, part.their) {
			t.Fatalf("%q: a decoder that folds case reads %s %q, we read %q", m.Raw, part.name, part.their, part.ours)
		}
	}
}

// grammar builds messages out of choices; when they run out it comes to an end.
type grammar struct {
	choices []byte
	out     []byte
	depth   int
}

func (g *grammar) pick(n int) int {
	if len(g.choices) == 0 {
		return 0
	}
	c := int(g.choices[0])
	g.choices = g.choices[1:]
	return c % n
}

func (g *grammar) put(options ...string) { g.out = append(g.out, options[g.pick(len(options))]...) }

func (g *grammar) space() { g.put("", "", "", " ", "\n", "\r\n\t") }

func (g *grammar) message() {
	members := []string{`"jsonrpc":"2.0"`}
	members = append(members, [][]string{
		{`"id":1`, `"method":"tools/call"`}, {`"method":"m"`}, {`"id":"a\u0062"`, `"result":{}`}, {`"id":null`, `"error":{"code":1e0}`}, {},
	}[g.pick(5)]...)
	g.put("", "", "", " ", "\ufeff", "[")
	g.out = append(g.out, '{')
	for _, m := range members {
		g.out = append(g.out, m...)
		g.space()
		g.out = append(g.out, ',')
		g.space()
	}
	g.put(`"params"`, `"params"`, `"x"`, `"\u0070arams"`, `"Params"`, `"id"`)
	g.space()
	g.out = append(g.out, ':')
	g.object()
	g.put("}", "}", "}", "}", "} ", "},", "")
}

func (g *grammar) object() {
	g.out = append(g.out, '{')
	for n := g.pick(5); n > 0; n-- {
		g.space()
		g.put(`"name"`, `"arguments"`, `"a"`, `"b"`, `"\u0061"`, `"A"`, `"c\u0000"`, `"é"`, `"\u00e9"`, `"\ud83d\ude00"`, `"😀"`, `"d"`, `"e"`, `"f"`, `"g"`, `"h"`)
		g.space()
		g.out = append(g.out, ':')
		g.space()
		g.value()
		if g.space(); n > 1 {
			g.out = append(g.out, ',')
		}
	}
	g.out = append(g.out, '}')
}

func (g *grammar) value() {
	g.depth++
	defer func() { g.depth-- }()
	switch g.pick(8) {
	case 0:
		g.put(`1`, `-0`, `1e400`, `1.50E-7`, `9007199254740993`, `true`, `false`, `null`, `01`, `-`)
	case 1, 2, 3:
		g.put(`""`, `"text"`, `"a\\\"b\/\n"`, `"\u00e9\ud83d\ude00é😀"`, `"\u0000"`, `"<&>"`, `"\ud800"`, "\"\xff\"", "\"\t\"", `"{\"jsonrpc\":1}"`)
	case 4, 5:
		g.object()
	default:
		g.out = append(g.out, '[')
		for n := g.pick(4); n > 0; n-- {
			g.value()
			if g.space(); n > 1 {
				g.out = append(g.out, ',')
			}
		}
		g.out = append(g.out, ']')
	}
}

// FuzzFindID: of a beginning of a message either its id is found or none, never
// another one: a refusal would answer somebody else's request.
func FuzzFindID(f *testing.F) {
	for _, seed := range differentials() {
		f.Add([]byte(seed), uint16(len(seed)/2))
	}
	f.Add([]byte(`{"id":1234,"jsonrpc":"2.0","method":"m"}`), uint16(8))
	f.Add([]byte(`{"params":{"id":5},"id":"a\"b","jsonrpc":"2.0","method":"m"}`), uint16(27))
	f.Fuzz(func(t *testing.T, raw []byte, cut uint16) {
		m, err := Scan(raw, Limits{})
		if err != nil {
			return
		}
		head := raw[:min(len(raw), int(cut))]
		got := string(FindID(head))
		if got != "null" && (m.ID == Absent || got != string(m.Value(m.ID))) {
			t.Fatalf("in %q the id is %q, of %q it is %q", head, got, raw, m.Value(m.ID))
		}
		if whole := string(FindID(raw)); m.ID != Absent && m.Nodes[m.ID].Kind != 'n' && whole != string(m.Value(m.ID)) {
			t.Fatalf("in the whole of %q the id is %q", raw, whole)
		}
	})
}

// FuzzSplice holds Splice against a re-implementation that compares every patch
// with every other.
func FuzzSplice(f *testing.F) {
	f.Add([]byte("abcdefgh"), []byte{0, 0, 1, 2, 1, 0, 4, 2, 2, 5, 0, 1})
	f.Add([]byte("abcdefgh"), []byte{1, 6, 1, 2, 2, 1, 3, 0, 1})
	f.Add([]byte("abcdefgh"), []byte{1, 2, 1, 1, 2, 0, 1, 2, 0, 1, 2, 3})
	f.Add([]byte(""), []byte{0, 0, 3})
	f.Add([]byte("abc"), []byte{3, 0, 1, 3, 0, 1, 0, 9, 1})
	f.Fuzz(func(t *testing.T, raw, plan []byte) {
		var patches []Patch
		for n := 0; len(plan) >= 3; n++ {
			start := int(int8(plan[0]))
			patches = append(patches, Patch{start, start + int(int8(plan[1])), bytes.Repeat([]byte{'A' + byte(n%26)}, int(plan[2]%4))})
			plan = plan[3:]
		}
		want, ok := spliceNaively(raw, patches)
		got, err := Splice(raw, slices.Clone(patches))
		if ok != (err == nil) || ok && !bytes.Equal(got, want) {
			t.Fatalf("%q with %v: %q, %v; want %q, %v", raw, patches, got, err, want, ok)
		}
		if same, err := Splice(raw, nil); err != nil || len(raw) > 0 && &same[0] != &raw[0] || len(same) != len(raw) {
			t.Fatalf("without a patch %q became %q: %v", raw, same, err)
		}
	})
}

func spliceNaively(raw []byte, patches []Patch) ([]byte, bool) {
	inside := func(i, j int) bool {
		p, q := patches[i], patches[j]
		switch {
		case p.Start == p.End:
			return q.Start < p.Start && p.Start < q.End
		case p.Start == q.Start && p.End == q.End:
			return len(q.New) == 0 && (len(p.New) > 0 || j < i) // of two removals one stays
		}
		return q.Start <= p.Start && p.End <= q.End
	}
	var kept []Patch
	for i, p := range patches {
		if p.Start < 0 || p.End < p.Start || p.End > len(raw) {
			return nil, false
		}
		within := false
		for j := range patches {
			within = within || i != j && inside(i, j)
		}
		if !within {
			kept = append(kept, p)
		}
	}
	for i, p := range kept {
		for _, q := range kept[:i] {
			if max(p.Start, q.Start) < min(p.End, q.End) {
				return nil, false
			}
		}
	}
	var out []byte
	for at := 0; at <= len(raw); at++ {
		covered := false
		for _, p := range kept {
			if p.Start == at && p.End == at {
				out = append(out, p.New...)
			}
		}
		for _, p := range kept {
			if p.Start == at && p.End > at {
				out = append(out, p.New...)
			}
			covered = covered || p.Start <= at && at < p.End
		}
		if at < len(raw) && !covered {
			out = append(out, raw[at])
		}
	}
	return out, true
}

// FuzzEdit removes arbitrary members of an arbitrary container, replaces others
// and adds some: what comes out is valid, holds exactly that, and every byte that
// was not to be changed.
func FuzzEdit(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","method":"m","params":{"a":1,"b":[2,","],"c":{"d":"}"}}}`), uint16(5), uint16(0), uint8(1), uint8(4))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":{"list":[ "a" , {"b":","} ,["c"] ] , "x" : null }}`), uint16(3), uint16(2), uint8(2), uint8(4))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":[]}`), uint16(0), uint16(0), uint8(1), uint8(3))
	f.Fuzz(func(t *testing.T, raw []byte, drop, replace uint16, add, at uint8) {
		m, err := Scan(raw, Limits{})
		if err != nil {
			return
		}
		i := int(at) % len(m.Nodes)
		if k := m.Nodes[i].Kind; i == 0 || k != '{' && k != '[' || m.Nodes[i].Sparse {
			return
		}
		var want []string
		var patches []Patch
		n := 0
		dropped := map[int]bool{}
		for c := range m.Children(i) {
			value := string(m.Value(c))
			if replace>>(n%16)&1 == 1 { // also of what is removed: the removal takes it along
				value = `"new ✓"`
				patches = append(patches, m.ReplaceText(c, "new ✓"))
			}
			if dropped[c] = drop>>(n%16)&1 == 1; !dropped[c] {
				want = append(want, m.Name(c)+value)
			}
			n++
		}
		var fields []Field
		for k := range add % 4 {
			field := Field{Value: []byte(`"added"`)}
			if m.Nodes[i].Kind == '{' {
				field.Name = freshName(m, i, int(k))
			}
			fields = append(fields, field)
			want = append(want, field.Name+`"added"`)
		}
		patches = append(patches, m.Edit(i, func(c int) bool { return dropped[c] }, fields...)...)
		checkEdited(t, m, i, patches, want)
	})
}

// freshName returns a name that object i does not have.
func freshName(m *Message, i, n int) string {
	name := fmt.Sprintf("é\"%d", n)
	for m.Member(i, name) != Absent {
		name += "+"
	}
	return name
}

func checkEdited(t *testing.T, m *Message, i int, patches []Patch, want []string) {
	t.Helper()
	out, err := Splice(m.Raw, patches)
	if err != nil {
		t.Fatal(err)
	}
	after, err := Scan(out, Limits{})
	if err != nil {
		t.Fatalf("%q became %q: %v", m.Raw, out, err)
	}
	var got []string
	for c := range after.Children(i) { // what stands before i has not moved
		got = append(got, after.Name(c)+string(after.Value(c)))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q became %q: %q, want %q", m.Raw, out, got, want)
	}
	before, behind := m.Raw[:m.Nodes[i].Start], m.Raw[m.Nodes[i].End:]
	if !bytes.HasPrefix(out, before) || !bytes.HasSuffix(out, behind) {
		t.Fatalf("%q became %q: bytes outside the container changed", m.Raw, out)
	}
}
