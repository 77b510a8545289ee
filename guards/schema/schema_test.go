package schema_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mcp-sidecar/guards/schema"
)

const document = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"type": "object",
	"properties": {
		"id": {"type": "integer", "minimum": 1},
		"status": {"enum": ["draft", "final"]},
		"tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "uniqueItems": true},
		"parent": {"$ref": "#"}
	},
	"required": ["id"],
	"additionalProperties": false,
	"$defs": {"tag": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 8}}
}`

func Example() {
	s, err := schema.Compile([]byte(`{"type":"object","properties":{"token":{"type":"string","maxLength":20}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Validate([]byte(`{"token":"[REDACTED:jwt]"}`)))
	fmt.Println(s.Validate([]byte(`{"token":"[REDACTED:connection_string]"}`)))
	// Output:
	// <nil>
	// value does not match the schema at "/properties/token"
}

// validate compiles rules and checks value once.
func validate(rules, value []byte) error {
	s, err := schema.Compile(rules)
	if err != nil {
		return err
	}
	return s.Validate(value)
}

func TestFits(t *testing.T) {
	s, err := schema.Compile([]byte(`{"type":"object","maxProperties":1}`))
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{`{"a":1}`: "fits", `{"a":1,"b":2}`: "does not", `{`: "unjudged", `{"a":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`: "unjudged"} {
		_, fits, err := s.Fits([]byte(value))
		if got := map[bool]string{true: "fits", false: "does not"}[fits]; err != nil && want != "unjudged" || err == nil && got != want || err != nil && fits {
			t.Errorf("%.20s: %v, %v; want %s", value, fits, err, want)
		}
	}
}

func TestValidate(t *testing.T) {
	s, err := schema.Compile([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		value string
		want  error
		at    string
	}{
		{"smallest", `{"id":1}`, nil, ""},
		{"everything", `{"id":1,"status":"final","tags":["a","b"],"parent":{"id":2}}`, nil, ""},
		{"integer written as float", `{"id":1.0}`, nil, ""},
		{"integer beyond float64", `{"id":9007199254740993}`, nil, ""},
		{"surrounding space", " {\"id\":1}\n", nil, ""},
		{"missing member", `{}`, schema.ErrMismatch, "root"},
		{"wrong root type", `[]`, schema.ErrMismatch, "root"},
		{"number as string", `{"id":"1"}`, schema.ErrMismatch, "/properties/id"},
		{"below minimum", `{"id":0}`, schema.ErrMismatch, "/properties/id"},
		{"fraction", `{"id":1.5}`, schema.ErrMismatch, "/properties/id"},
		{"not in enum", `{"id":1,"status":"SECRET"}`, schema.ErrMismatch, "/properties/status"},
		{"pattern", `{"id":1,"tags":["SECRET"]}`, schema.ErrMismatch, "/$defs/tag"},
		{"too long", `{"id":1,"tags":["secretsecret"]}`, schema.ErrMismatch, "/$defs/tag"},
		{"not unique", `{"id":1,"tags":["a","a"]}`, schema.ErrMismatch, "/properties/tags"},
		{"nested by reference", `{"id":1,"parent":{"id":0}}`, schema.ErrMismatch, "/properties/id"},
		{"additional member", `{"id":1,"SECRET":"SECRET"}`, schema.ErrMismatch, "root"},
		{"null member", `{"id":null}`, schema.ErrMismatch, "/properties/id"},
		{"empty", ``, schema.ErrInvalid, ""},
		{"cut off", `{"id":1`, schema.ErrInvalid, ""},
		{"two values", `{"id":1}{"id":1}`, schema.ErrInvalid, ""},
		{"number out of range", `{"id":1e999}`, schema.ErrTooLarge, ""},
		{"too deep", strings.Repeat("[", schema.MaxDepth+1) + strings.Repeat("]", schema.MaxDepth+1), schema.ErrTooLarge, ""},
		{"too long for anything", `"` + strings.Repeat("x", schema.MaxValue) + `"`, schema.ErrTooLarge, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := s.Validate([]byte(tt.value))
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil {
				return
			}
			if strings.Contains(strings.ToLower(err.Error()), "secret") {
				t.Errorf("error echoes the value: %v", err)
			}
			if tt.at != "" && !strings.HasSuffix(err.Error(), fmt.Sprintf(" at %q", tt.at)) {
				t.Errorf("got %v, want it at %q", err, tt.at)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	tests := []struct {
		name   string
		schema string
		want   error
	}{
		{"no JSON", `{`, schema.ErrSchema},
		{"no schema", `[]`, schema.ErrSchema},
		{"keyword of the wrong type", `{"required":"id"}`, schema.ErrSchema},
		{"null subschema", `{"properties":{"a":null}}`, schema.ErrSchema},
		{"null in a list", `{"allOf":[null]}`, schema.ErrSchema},
		{"other draft", `{"$schema":"http://json-schema.org/draft-04/schema#"}`, schema.ErrSchema},
		{"external reference", `{"$ref":"https://example.com/schema.json"}`, schema.ErrSchema},
		{"external reference with a pointer", `{"properties":{"a":{"$ref":"https://example.com/s.json#/$defs/a"}}}`, schema.ErrSchema},
		{"reference to a file", `{"$ref":"file:///etc/passwd"}`, schema.ErrSchema},
		{"relative reference", `{"$id":"https://example.com/a","items":{"$ref":"b"}}`, schema.ErrSchema},
		{"nested id", `{"items":{"$id":"https://example.com/b","$ref":"#/x"}}`, schema.ErrSchema},
		{"dynamic reference", `{"$dynamicAnchor":"node","$dynamicRef":"#node"}`, schema.ErrSchema},
		{"dangling reference", `{"$ref":"#/$defs/missing"}`, schema.ErrSchema},
		{"reference to no schema", `{"title":"t","$ref":"#/title"}`, schema.ErrSchema},
		{"look-ahead", `{"pattern":"(?=a)b"}`, schema.ErrSchema},
		{"pattern that grows", `{"pattern":"` + strings.Repeat("(?:ab{1000})", 100) + `"}`, schema.ErrSchema},
		{"long pattern", `{"pattern":"` + strings.Repeat("a", 5000) + `"}`, schema.ErrSchema},
		{"too deep", strings.Repeat(`{"not":`, schema.MaxDepth+1) + "{}" + strings.Repeat("}", schema.MaxDepth+1), schema.ErrTooLarge},
		{"too long", `{"title":"` + strings.Repeat("x", schema.MaxSchema) + `"}`, schema.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := schema.Compile([]byte(tt.schema))
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if s != nil {
				t.Error("got a schema with the error")
			}
		})
	}
}

func TestReferencesAndKeywords(t *testing.T) {
	tests := []struct {
		name, schema, good, bad string
	}{
		{"boolean schema", `{"properties":{"a":true,"b":false}}`, `{"a":1}`, `{"b":1}`},
		{"pointer into properties", `{"properties":{"a":{"type":"string"},"b":{"$ref":"#/properties/a"}}}`, `{"b":"x"}`, `{"b":1}`},
		{"pointer into items", `{"items":{"type":"string"},"contains":{"$ref":"#/items"}}`, `["x"]`, `[1]`},
		{"pointer into a list", `{"anyOf":[{"type":"string"},{"items":{"$ref":"#/anyOf/0"}}]}`, `["x"]`, `[1]`},
		{"escaped pointer", `{"$defs":{"a/b~c":{"type":"string"}},"$ref":"#/$defs/a~1b~0c"}`, `"x"`, `1`},
		{"percent-encoded pointer", `{"$defs":{"a b":{"type":"string"}},"$ref":"#/$defs/a%20b"}`, `"x"`, `1`},
		{"root id", `{"$id":"https://example.com/s","$defs":{"a":{"type":"string"}},"$ref":"#/$defs/a"}`, `"x"`, `1`},
		{"draft 7", `{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"a":{"type":"string"}},"items":[{"$ref":"#/definitions/a"}]}`, `["x"]`, `[1]`},
		{"pattern properties", `{"patternProperties":{"^n_":{"type":"number"}},"additionalProperties":false}`, `{"n_a":1}`, `{"x":1}`},
		{"property names", `{"propertyNames":{"maxLength":2}}`, `{"ab":1}`, `{"abc":1}`},
		{"big integers stay exact", `{"exclusiveMinimum":9007199254740992}`, `9007199254740993`, `9007199254740992`},
		{"unsigned", `{"type":"integer","minimum":0}`, `18446744073709551615`, `-1`},
		{"recursive alternatives", `{"anyOf":[{"type":"null"},{"properties":{"next":{"$ref":"#"}},"required":["next"],"type":"object"}]}`, `{"next":{"next":null}}`, `{"next":{"next":1}}`},
		{"prefix items", `{"prefixItems":[{"type":"string"}],"items":{"type":"integer"}}`, `["x",1]`, `["x","y"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := validate([]byte(tt.schema), []byte(tt.good)); err != nil {
				t.Errorf("%s: %v", tt.good, err)
			}
			if err := validate([]byte(tt.schema), []byte(tt.bad)); !errors.Is(err, schema.ErrMismatch) {
				t.Errorf("%s: got %v, want a mismatch", tt.bad, err)
			}
		})
	}
}

// TestWorkIsBounded holds schemas of a hostile upstream: without the plan the
// first two end the process with a stack overflow and the others run for hours.
func TestWorkIsBounded(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	var doubling strings.Builder
	for i := range 40 {
		fmt.Fprintf(&doubling, `"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	var chain strings.Builder
	for i := range 100 {
		fmt.Fprintf(&chain, `"d%d":{"$ref":"#/$defs/d%d"},`, i, i+1)
	}
	alternatives := strings.Repeat(`{"uniqueItems":true},`, 3000) + "true"
	tests := []struct {
		name, schema, value string
	}{
		{"reference to itself", `{"$ref":"#"}`, `1`},
		{"loop over two", `{"$defs":{"a":{"not":{"$ref":"#/$defs/b"}},"b":{"allOf":[{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}`, `1`},
		{"long chain on one value", `{"$defs":{` + chain.String() + `"d100":{}},"$ref":"#/$defs/d0"}`, `1`},
		{"doubling on one value", `{"$defs":{` + doubling.String() + `"d40":{}},"$ref":"#/$defs/d0"}`, `1`},
		{"doubling on each level", `{"properties":{"a":{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}}}`, deep},
		{"many readings of a large array", `{"allOf":[` + alternatives + `]}`, "[" + strings.Repeat("0,", 20_000) + "1]"},
		{"many readings of a long string", `{"allOf":[` + strings.Repeat(`{"maxLength":9},`, 3000) + `true]}`, `"` + strings.Repeat("x", 1<<20) + `"`},
		{"slow pattern on a long string", `{"pattern":"(a?){900}b"}`, `"` + strings.Repeat("a", 1<<20) + `"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := validate([]byte(tt.schema), []byte(tt.value)); !errors.Is(err, schema.ErrTooLarge) {
				t.Errorf("got %v, want %v", err, schema.ErrTooLarge)
			}
		})
	}
}

func FuzzValidate(f *testing.F) {
	f.Add(document, `{"id":1,"tags":["a"]}`)
	f.Add(`{"$ref":"#"}`, `1`)
	f.Add(`{"anyOf":[{"$ref":"#/anyOf/1"},{"items":{"$ref":"#"}}]}`, `[[1]]`)
	f.Add(`{"not":{"enum":[1,2]},"if":{"minLength":3},"then":{"pattern":"^a"}}`, `"abc"`)
	f.Fuzz(func(t *testing.T, rules, value string) {
		s, err := schema.Compile([]byte(rules))
		if err != nil {
			if !errors.Is(err, schema.ErrSchema) && !errors.Is(err, schema.ErrTooLarge) {
				t.Fatalf("unclassified error: %v", err)
			}
			return
		}
		first, second := s.Validate([]byte(value)), s.Validate([]byte(value))
		if (first == nil) != (second == nil) {
			t.Fatalf("two answers: %v and %v", first, second)
		}
		// A marker that is in the value and not in the schema must not come back.
		const marker = "c4n4ry"
		if strings.Contains(rules, marker) {
			return
		}
		err = s.Validate([]byte(`{"` + marker + `":["` + marker + `"]}`))
		if err != nil && strings.Contains(err.Error(), marker) {
			t.Fatalf("error echoes the value: %v", err)
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	s, err := schema.Compile([]byte(document))
	if err != nil {
		b.Fatal(err)
	}
	small := []byte(`{"id":1,"status":"final","tags":["a","b"],"parent":{"id":2}}`)
	large := []byte(`{"id":1,"tags":["aaaaaaaa"` + manyTags(5000) + `]}`)
	for name, value := range map[string][]byte{"small": small, "large": large} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Validate(value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := schema.Compile([]byte(document)); err != nil {
			b.Fatal(err)
		}
	}
}

// manyTags returns n different array elements of lower-case letters.
func manyTags(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `,"%c%c%c%c"`, 'a'+i%26, 'a'+i/26%26, 'a'+i/676%26, 'a'+i/17576%26)
	}
	return s.String()
}
