package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

const referenceFile = "../../docs/configuration.md"

// docs/configuration.md lists every key of the schema. Run it with -update (or go
// generate) after a change.
func TestReferenceIsCurrent(t *testing.T) {
	want := reference(t)
	if *update {
		if err := os.WriteFile(referenceFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/configuration.md is stale; run go generate ./proxy/config")
	}
}

func reference(t *testing.T) []byte {
	t.Helper()
	s := inferred(t)
	var b bytes.Buffer
	b.WriteString(`# Every key of the configuration file

Made from the same structs as the JSON Schema that ` + "`mcp-sidecar schema`" + ` prints; this page and the schema are tested to be current. ` + "`mcp-sidecar validate`" + ` checks a file, relations between keys included. What keys are for is told in [identity](identity.md), [policy](policy.md), [attach](attach.md) and [operations](operations.md).

- A *duration* is written like ` + "`1.5s`, `10m` or `24h`" + `, a *size* in bytes or like ` + "`64KiB` or `1MiB`" + `.
- NAME stands for a key of your choice, and ` + "`[]`" + ` for each entry of a list.
- Unknown keys are errors. No value is a secret: secrets are read from the files and environment variables that the keys name.
`)
	single := &jsonschema.Schema{Properties: map[string]*jsonschema.Schema{}, Required: s.Required}
	for _, key := range s.PropertyOrder {
		if isLeaf(s.Properties[key]) {
			single.Properties[key] = s.Properties[key]
			single.PropertyOrder = append(single.PropertyOrder, key)
		}
	}
	section(t, &b, "The whole", "", single)
	for _, key := range s.PropertyOrder {
		if p := s.Properties[key]; !isLeaf(p) {
			fmt.Fprintf(&b, "\n## %s\n\n%s\n", key, p.Description)
			table(&b)
			rows(t, &b, key, p)
		}
	}
	return b.Bytes()
}

func section(t *testing.T, b *bytes.Buffer, title, path string, s *jsonschema.Schema) {
	t.Helper()
	fmt.Fprintf(b, "\n## %s\n", title)
	table(b)
	members(t, b, path, s)
}

func table(b *bytes.Buffer) { b.WriteString("\n| Key | Value | Meaning |\n|-|-|-|\n") }

// isLeaf says whether s has no keys of its own to list.
func isLeaf(s *jsonschema.Schema) bool {
	switch {
	case len(s.Properties) > 0:
		return false
	case s.Items != nil:
		return isLeaf(s.Items)
	case s.AdditionalProperties != nil && s.AdditionalProperties.Not == nil:
		return isLeaf(s.AdditionalProperties)
	}
	return true
}

// rows lists what is below path.
func rows(t *testing.T, b *bytes.Buffer, path string, s *jsonschema.Schema) {
	t.Helper()
	switch {
	case isLeaf(s):
	case len(s.Properties) > 0:
		members(t, b, path, s)
	case s.Items != nil:
		rows(t, b, path+"[]", s.Items)
	default:
		rows(t, b, path+".NAME", s.AdditionalProperties)
	}
}

func members(t *testing.T, b *bytes.Buffer, path string, s *jsonschema.Schema) {
	t.Helper()
	for _, key := range s.PropertyOrder {
		p, name := s.Properties[key], key
		if path != "" {
			name = path + "." + key
		}
		if p.Description == "" {
			t.Errorf("%s has no description", name)
		}
		value := kindOf(p)
		if slices.Contains(s.Required, key) {
			value += ", required"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, value, strings.ReplaceAll(p.Description, "|", `\|`))
		rows(t, b, name, p)
	}
}

// kindOf names the form of a value.
func kindOf(s *jsonschema.Schema) string {
	durations, sizes := typeSchemas()[reflect.TypeFor[Duration]()], typeSchemas()[reflect.TypeFor[ByteSize]()]
	switch {
	case len(s.Enum) > 0:
		var all []string
		for _, v := range s.Enum {
			all = append(all, fmt.Sprintf("`%v`", v))
		}
		return strings.Join(all, ", ")
	case s.Pattern == durations.Pattern:
		return "duration"
	case s.Pattern == sizes.Pattern:
		return "size"
	case s.Pattern == decimalPattern:
		return "number"
	case s.Items != nil && isLeaf(s.Items):
		return "list of " + plural(kindOf(s.Items))
	case s.Items != nil:
		return "list"
	case s.Type == "object" && len(s.Properties) == 0 && s.AdditionalProperties != nil && isLeaf(s.AdditionalProperties):
		return "NAME: " + kindOf(s.AdditionalProperties)
	case s.Type == "object":
		return "mapping"
	case len(s.AnyOf) > 0 && s.AnyOf[0].Format == "date":
		return "day or time"
	case len(s.AnyOf) > 0:
		return "IP address"
	}
	return s.Type
}

func plural(kind string) string {
	switch kind {
	case "string", "integer":
		return kind + "s"
	case "IP address":
		return "IP addresses"
	}
	return kind
}
