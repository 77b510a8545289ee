package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/google/jsonschema-go/jsonschema"
)

var update = flag.Bool("update", false, "rewrite schema.json and docs/configuration.md from the structs")

// TestSchemaIsCurrent fails when schema.json is not what the structs say. Run it
// with -update (or go generate) after a change.
func TestSchemaIsCurrent(t *testing.T) {
	want := generate(t)
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(Schema(), want) {
		t.Error("schema.json is stale; run go generate ./proxy/config")
	}
}

func inferred(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.For[Config](&jsonschema.ForOptions{TypeSchemas: typeSchemas()})
	if err != nil {
		t.Fatal(err)
	}
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "mcp-sidecar configuration"
	complete(s, reflect.TypeFor[Config]())
	return s
}

func generate(t *testing.T) []byte {
	t.Helper()
	b, err := json.Marshal(inferred(t))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// typeSchemas are the types that spell themselves.
func typeSchemas() map[reflect.Type]*jsonschema.Schema {
	enum := func(names []string) *jsonschema.Schema {
		s := &jsonschema.Schema{Type: "string"}
		for _, n := range spelled(names) {
			s.Enum = append(s.Enum, n)
		}
		return s
	}
	addr := &jsonschema.Schema{Type: "string", AnyOf: []*jsonschema.Schema{{Format: "ipv4"}, {Format: "ipv6"}}}
	return map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[netip.AddrPort]():       {Type: "string"},
		reflect.TypeFor[Until]():                {Type: "string", AnyOf: []*jsonschema.Schema{{Format: "date"}, {Format: "date-time"}}},
		reflect.TypeFor[Preset]():               enum(presetNames),
		reflect.TypeFor[Mode]():                 enum(modeNames),
		reflect.TypeFor[Consent]():              enum(consentNames),
		reflect.TypeFor[Wrap]():                 enum(wrapNames),
		reflect.TypeFor[Delimiter]():            enum(delimiterNames),
		reflect.TypeFor[OnError]():              enum(onErrorNames),
		reflect.TypeFor[CredentialKind]():       enum(credentialNames),
		reflect.TypeFor[Sync]():                 enum(syncNames),
		reflect.TypeFor[Algorithm]():            enum(algorithmNames),
		reflect.TypeFor[ByteSize]():             {Types: []string{"integer", "string"}, Pattern: `^[0-9]+(KiB|MiB|GiB)?$`},
		reflect.TypeFor[Decimal]():              {Types: []string{"number", "string"}, Pattern: decimalPattern},
		reflect.TypeFor[Duration]():             {Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`},
		fieldType("DNS", "Hosts").Elem().Elem(): addr,
	}
}

func fieldType(path ...string) reflect.Type {
	t := reflect.TypeFor[Config]()
	for _, name := range path {
		f, _ := t.FieldByName(name)
		t = f.Type
	}
	return t
}

// complete adds what the library does not infer: that null is never a value, and
// the constraints below.
func complete(s *jsonschema.Schema, t reflect.Type) {
	if i := slices.Index(s.Types, "null"); i >= 0 {
		s.Types = slices.Delete(s.Types, i, i+1)
		if len(s.Types) == 1 {
			s.Type, s.Types = s.Types[0], nil
		}
	}
	switch t.Kind() {
	case reflect.Pointer:
		complete(s, t.Elem())
	case reflect.Slice:
		complete(s.Items, t.Elem())
	case reflect.Map:
		complete(s.AdditionalProperties, t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if key := keyOf(t.Field(i)); s.Properties[key] != nil {
				complete(s.Properties[key], t.Field(i).Type)
			}
		}
	}
	if add := constraints[t]; add != nil {
		add(s)
	}
}

var constraints = map[reflect.Type]func(*jsonschema.Schema){
	reflect.TypeFor[Config](): func(s *jsonschema.Schema) {
		one := 1
		s.Properties["version"].Enum = []any{1}
		s.Properties["upstreams"].MinProperties = &one
		s.Properties["upstreams"].PropertyNames = &jsonschema.Schema{Pattern: upstreamName.String()}
		tool := strings.TrimSuffix(upstreamName.String(), "$") + "/" + strings.TrimPrefix(toolName.String(), "^")
		s.Properties["tools"].PropertyNames = &jsonschema.Schema{Pattern: tool}
	},
	reflect.TypeFor[Auth](): func(s *jsonschema.Schema) {
		one := 1
		s.Properties["scopes_supported"].Items.Pattern = scopeToken.String()
		s.Properties["scopes_supported"].UniqueItems = true
		includes := s.Properties["scope_includes"]
		includes.PropertyNames = &jsonschema.Schema{Pattern: scopeToken.String()}
		includes.AdditionalProperties.MinItems = &one
		includes.AdditionalProperties.Items.Pattern = scopeToken.String()
		s.Properties["roles"].PropertyNames = &jsonschema.Schema{Pattern: "^user:."}
		rolesOnly(s.Properties["roles"])
	},
	reflect.TypeFor[JWT](): func(s *jsonschema.Schema) {
		s.Properties["algorithms"].UniqueItems = true
		s.Properties["roles_claim"].Pattern = claimPath.String()
		rolesOnly(s.Properties["roles_map"])
	},
	reflect.TypeFor[Introspection](): func(s *jsonschema.Schema) {
		s.Properties["roles_claim"].Pattern = claimPath.String()
		rolesOnly(s.Properties["roles_map"])
	},
	reflect.TypeFor[Policy](): func(s *jsonschema.Schema) {
		s.OneOf = []*jsonschema.Schema{{Required: []string{"file"}}, {Required: []string{"database"}}}
	},
	reflect.TypeFor[Database](): func(s *jsonschema.Schema) {
		s.Properties["url_env"].Pattern = variableName.String()
	},
	reflect.TypeFor[Upstream](): func(s *jsonschema.Schema) {
		one := 1
		s.OneOf = []*jsonschema.Schema{{Required: []string{"url"}}, {Required: []string{"command"}}}
		s.Properties["command"].MinItems = &one
		s.Properties["env_allow"].Items.Pattern = variableName.String()
		s.Properties["env_allow"].UniqueItems = true
	},
	reflect.TypeFor[BrokerClient](): func(s *jsonschema.Schema) {
		one := 1
		s.Properties["redirect_uris"].MinItems = &one
	},
	reflect.TypeFor[Provider](): func(s *jsonschema.Schema) {
		s.Properties["scopes"].Items.Pattern = scopeToken.String()
		s.Properties["scopes"].UniqueItems = true
	},
	reflect.TypeFor[Credential](): func(s *jsonschema.Schema) {
		s.Properties["variable"].Pattern = variableName.String()
	},
	reflect.TypeFor[Tool](): func(s *jsonschema.Schema) {
		zero := 0.0
		s.Properties["resource"].Pattern, s.Properties["action"].Pattern = policyName.String(), policyName.String()
		s.Properties["scopes"].Items.Pattern = scopeToken.String()
		s.Properties["scopes"].UniqueItems, s.Properties["trusted_blocks"].UniqueItems = true, true
		s.Properties["inject_args"].AdditionalProperties.Enum = []any{SubjectValue}
		s.Properties["trusted_blocks"].Items.Minimum = &zero
	},
	reflect.TypeFor[Arg](): func(s *jsonschema.Schema) {
		one := 1
		s.MinProperties = &one
		s.Properties["enum"].MinProperties = &one
		s.Properties["prefix"].MinItems, s.Properties["hosts"].MinItems = &one, &one
	},
	reflect.TypeFor[SSRF](): func(s *jsonschema.Schema) {
		low, high := 1.0, 65535.0
		s.Properties["ports"].Items.Minimum, s.Properties["ports"].Items.Maximum = &low, &high
	},
	reflect.TypeFor[DNS](): func(s *jsonschema.Schema) {
		one := 1
		s.Properties["hosts"].AdditionalProperties.MinItems = &one
	},
	reflect.TypeFor[Limits](): func(s *jsonschema.Schema) {
		for _, b := range limitBounds {
			if p := s.Properties[b.key]; p.Type != "string" {
				low, high := float64(b.min), float64(b.max)
				p.Minimum, p.Maximum = &low, &high
			}
		}
	},
}

// rolesOnly is a mapping to roles.
func rolesOnly(s *jsonschema.Schema) {
	one := 1
	s.AdditionalProperties.MinItems = &one
	s.AdditionalProperties.Items.Pattern = "^role:."
}

func resolved(t *testing.T) *jsonschema.Resolved {
	t.Helper()
	var s jsonschema.Schema
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// instance reads a YAML file as JSON values, without the decoder under test.
func instance(t *testing.T, file string) (any, bool) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	root, problems := parseYAML(newOrigin(file, string(text)), text, "")
	if len(problems) > 0 {
		return nil, false
	}
	return jsonValue(root), true
}

func jsonValue(n ast.Node) any {
	switch n := n.(type) {
	case *ast.MappingNode:
		m := map[string]any{}
		for _, v := range n.Values {
			m[showColons(v.Key.GetToken().Value)] = jsonValue(v.Value)
		}
		return m
	case *ast.SequenceNode:
		s := make([]any, 0, len(n.Values))
		for _, v := range n.Values {
			s = append(s, jsonValue(v))
		}
		return s
	case *ast.StringNode:
		return showColons(n.Value)
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		f, _ := strconv.ParseFloat(n.GetToken().Value, 64)
		return f
	case *ast.NullNode:
		return nil
	}
	return n.String()
}

func TestSchemaAcceptsGoodFiles(t *testing.T) {
	r := resolved(t)
	for _, file := range goodFiles(t) {
		v, ok := instance(t, file)
		if !ok {
			t.Fatalf("%s is not YAML", file)
		}
		if err := r.Validate(v); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestSchemaRefusesBadShapes: whatever the decoder refuses by its shape, an
// editor with the schema must refuse too.
func TestSchemaRefusesBadShapes(t *testing.T) {
	r := resolved(t)
	shape := regexp.MustCompile(`unknown key|not built yet|must be one of|: must be a (list|mapping|string|number|duration|whole)|true or false|has no value|must be from .*limits\.(depth|keys|tools|headers)`)
	tested := 0
	for _, file := range badFiles(t) {
		want := wanted(t, file)
		if !slices.ContainsFunc(want, shape.MatchString) {
			continue
		}
		v, ok := instance(t, file)
		if !ok {
			continue
		}
		tested++
		if err := r.Validate(v); err == nil {
			t.Errorf("%s passes the schema, but:\n%s", file, strings.Join(want, "\n"))
		}
	}
	if tested < 7 {
		t.Errorf("only %d files tested", tested)
	}
}

// TestSchemaRefusesUnknownKeys adds one to each object in turn.
func TestSchemaRefusesUnknownKeys(t *testing.T) {
	r := resolved(t)
	v, _ := instance(t, "testdata/full.good.yaml")
	objects := 0
	eachObject(v, reflect.TypeFor[Config](), func(m map[string]any, typ reflect.Type) {
		objects++
		m["surprise"] = "x"
		if r.Validate(v) == nil {
			t.Errorf("the schema accepts an unknown key in %s", typ.Name())
		}
		delete(m, "surprise")
	})
	if err := r.Validate(v); err != nil || objects < 13 {
		t.Errorf("%d objects, %v", objects, err)
	}
}

// eachObject calls do for every object that stands for a struct.
func eachObject(v any, t reflect.Type, do func(map[string]any, reflect.Type)) {
	switch t.Kind() {
	case reflect.Pointer:
		eachObject(v, t.Elem(), do)
	case reflect.Slice:
		s, _ := v.([]any)
		for _, e := range s {
			eachObject(e, t.Elem(), do)
		}
	case reflect.Map:
		m, _ := v.(map[string]any)
		for _, e := range m {
			eachObject(e, t.Elem(), do)
		}
	case reflect.Struct:
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		do(m, t)
		for i := range t.NumField() {
			if e, given := m[keyOf(t.Field(i))]; given {
				eachObject(e, t.Field(i).Type, do)
			}
		}
	}
}

// TestSchemaDescribesEveryKey: the schema is the reference of the settings.
func TestSchemaDescribesEveryKey(t *testing.T) {
	var s jsonschema.Schema
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, s *jsonschema.Schema)
	walk = func(path string, s *jsonschema.Schema) {
		if s == nil {
			return
		}
		for key, p := range s.Properties {
			if p.Description == "" {
				t.Errorf("%s has no description", child(path, key))
			}
			walk(child(path, key), p)
		}
		walk(item(path, 0), s.Items)
		walk(child(path, "*"), s.AdditionalProperties)
	}
	walk("", &s)
}

// TestFullFileIsFull keeps full.good.yaml a file with every key.
func TestFullFileIsFull(t *testing.T) {
	v, _ := instance(t, "testdata/full.good.yaml")
	given := map[string]bool{}
	eachObject(v, reflect.TypeFor[Config](), func(m map[string]any, typ reflect.Type) {
		for key := range m {
			given[typ.Name()+"."+key] = true
		}
	})
	for _, typ := range []reflect.Type{
		reflect.TypeFor[Config](), reflect.TypeFor[TLS](), reflect.TypeFor[Diagnostics](), reflect.TypeFor[Auth](), reflect.TypeFor[Introspection](), reflect.TypeFor[Upstream](),
		reflect.TypeFor[Broker](), reflect.TypeFor[BrokerLogin](), reflect.TypeFor[BrokerClient](), reflect.TypeFor[Provider](),
		reflect.TypeFor[Credential](), reflect.TypeFor[Policy](), reflect.TypeFor[Database](), reflect.TypeFor[Tool](), reflect.TypeFor[Arg](), reflect.TypeFor[SSRF](),
		reflect.TypeFor[Guards](), reflect.TypeFor[ToolGuards](), reflect.TypeFor[DNS](), reflect.TypeFor[Exception](), reflect.TypeFor[Egress](), reflect.TypeFor[EgressRule](), reflect.TypeFor[Limits](), reflect.TypeFor[Audit](),
	} {
		for i := range typ.NumField() {
			if key := keyOf(typ.Field(i)); key != "" && !given[typ.Name()+"."+key] && typ.Name()+"."+key != "Policy.file" { // it has a database
				t.Errorf("%s.%s is not in %s", typ.Name(), key, filepath.Base("testdata/full.good.yaml"))
			}
		}
	}
}
