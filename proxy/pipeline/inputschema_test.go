package pipeline

import (
	"testing"

	"mcp-sidecar/guards/schema"
	"mcp-sidecar/proxy/wire"
)

// argumentsOf reads args as the arguments of a call.
func argumentsOf(args string) (*wire.Message, int, error) {
	m, err := wire.Scan([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":`+args+`}}`), wire.DefaultLimits)
	if err != nil {
		return nil, 0, err
	}
	return m, m.At(m.Params, "arguments"), nil
}

// What is judged without decoding is judged as by the engine, and most is.
func TestFlatSchema(t *testing.T) {
	const rules = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","title":"t","properties":{
		"id":{"type":"integer","description":"d"},"n":{"type":"number"},"s":{"type":"string","format":"uri","default":"x"},"b":{"type":"boolean"},
		"o":{"type":"object"},"a":{"type":"array"},"z":{"type":"null"},"any":{},"x":{"type":"string","x-mcp-header":"X"},"short":{"type":"string","maxLength":2}},
		"required":["id"],"additionalProperties":false}`
	for _, row := range []struct {
		name, args   string
		judged, fits bool // without the engine; by either
	}{
		{"all kinds", `{"id":1,"n":1.5,"s":"v","b":true,"o":{"k":1},"a":[1],"z":null,"any":[{}],"x":"y"}`, true, true},
		{"big integer", `{"id":123456789012345678901234567890}`, true, true},
		{"integer that is written as a fraction", `{"id":1.0}`, false, true},
		{"integer with an exponent", `{"id":1e2}`, false, true},
		{"no integer", `{"id":1.5}`, false, false},
		{"text for a number", `{"id":"1"}`, false, false},
		{"number for a text", `{"id":1,"s":7}`, false, false},
		{"null for a text", `{"id":1,"s":null}`, false, false},
		{"required is missing", `{"s":"v"}`, false, false},
		{"another member", `{"id":1,"more":1}`, false, false},
		{"the name in another case", `{"ID":1}`, false, false},
		{"the name with escapes", `{"\u0069d":1}`, true, true},
		{"member of which more is said", `{"id":1,"short":"ab"}`, false, true},
		{"the same, too long", `{"id":1,"short":"abc"}`, false, false},
		{"a list", `[1]`, false, false},
		{"a text", `"id"`, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			m, args, err := argumentsOf(row.args)
			if err != nil {
				t.Fatal(err)
			}
			s := newInputSchema([]byte(rules))
			if err := s.ready(compileForTest); err != nil || s.flat == nil {
				t.Fatalf("%v, flat: %t", err, s.flat != nil)
			}
			fits, judged := s.flat.fits(m, args)
			if judged != row.judged || fits != row.judged {
				t.Errorf("fits %t, judged %t", fits, judged)
			}
			if rule, _ := s.judge(m, args); (rule == "") != row.fits {
				t.Errorf("refused by %q", rule)
			}
		})
	}
}

func compileForTest(rules []byte) (func([]byte) (string, bool, error), error) {
	s, err := schema.Compile(rules)
	if err != nil {
		return nil, err
	}
	return s.Fits, nil
}

// Schemas of which more is said than kinds are left to the engine.
func TestNotFlat(t *testing.T) {
	for _, rules := range []string{
		`{"type":"object","minProperties":1}`, `{"properties":{}}`, `{"type":["object","null"]}`, `{"type":"object","additionalProperties":{"type":"string"}}`,
		`{"type":"object","patternProperties":{"a":{"type":"string"}}}`, `{"type":"object","allOf":[{"required":["a"]}]}`, `{"type":"object","not":{}}`,
		`{"type":"object","if":{},"then":false}`, `{"type":"object","$ref":"#/$defs/a","$defs":{"a":{}}}`, `{"type":"object","propertyNames":{"maxLength":1}}`,
		`{"type":"object","dependentRequired":{"a":["b"]}}`, `{"type":"object","unevaluatedProperties":false}`, `{"type":"object","const":{}}`, `{"type":"string"}`, `true`,
	} {
		if newFlatSchema([]byte(rules)) != nil {
			t.Errorf("%s is flat", rules)
		}
	}
}

// FuzzFlatSchema: what fits without the engine, fits by the engine.
func FuzzFlatSchema(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}`, `{"a":1}`)
	f.Add(`{"type":"object","properties":{"a":{"type":"string","format":"email"}},"additionalProperties":false}`, `{"a":"x"}`)
	f.Add(`{"type":"object","properties":{"a":true,"b":{"type":"number","examples":[1]}}}`, `{"b":1.50}`)
	f.Add(`{"type":"object","required":["a","a"],"x-a":1,"default":{}}`, `{"a":null}`)
	f.Fuzz(func(t *testing.T, rules, args string) {
		m, at, err := argumentsOf(args)
		if err != nil || at == wire.Absent {
			return
		}
		s := newInputSchema([]byte(rules))
		if s.ready(compileForTest) != nil || s.flat == nil {
			return
		}
		if fits, judged := s.flat.fits(m, at); !judged || !fits {
			return
		}
		if place, fits, err := s.test(m.Value(at)); err == nil && !fits {
			t.Errorf("%s: %s does not fit at %s", rules, args, place)
		}
	})
}

func BenchmarkInputSchema(b *testing.B) {
	m, args, err := argumentsOf(`{"id":7,"content":"some words of a document, and some more of them","created_by":"alice"}`)
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range []struct{ name, rules string }{
		{"flat", `{"type":"object","properties":{"id":{"type":"integer"},"content":{"type":"string"},"created_by":{"type":"string"}},"required":["id"]}`},
		{"engine", `{"type":"object","properties":{"id":{"type":"integer","minimum":1},"content":{"type":"string"},"created_by":{"type":"string"}},"required":["id"]}`},
	} {
		b.Run(row.name, func(b *testing.B) {
			s := newInputSchema([]byte(row.rules))
			if err := s.ready(compileForTest); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if rule, _ := s.judge(m, args); rule != "" {
					b.Fatal(rule)
				}
			}
		})
	}
}
