package pipeline

import (
	"slices"
	"strings"
	"testing"

	"maps"

	"mcp-sidecar/proxy/wire"
)

// Schemas as generators write them: each must lead to the check of the URL in it.
func TestSchemasThatSpeakOfURLs(t *testing.T) {
	for _, tt := range []struct {
		name, schema string
		urls         []string
		any          bool
	}{
		{"plain", `{"properties":{"target":{"format":"uri"}}}`, []string{"target"}, false},
		{"list", `{"properties":{"target":{"items":{"format":"uri"}}}}`, []string{"target"}, false},
		{"optional, as pydantic writes it", `{"properties":{"target":{"anyOf":[{"format":"uri"},{"type":"null"}]}}}`, []string{"target"}, false},
		{"URL or duration", `{"properties":{"target":{"anyOf":[{"format":"uri"},{"format":"duration"}]}}}`, []string{"target"}, false},
		{"model behind a reference", `{"properties":{"s":{"$ref":"#/$defs/S"}},"$defs":{"S":{"properties":{"target":{"format":"uri"}}}}}`, []string{"target"}, false},
		{"list of models", `{"properties":{"s":{"items":{"properties":{"target":{"format":"iri"}}}}}}`, []string{"target"}, false},
		{"map of URLs", `{"properties":{"m":{"additionalProperties":{"format":"uri"}}}}`, nil, true},
		{"map of models", `{"properties":{"m":{"additionalProperties":{"properties":{"target":{"format":"uri"}}}}}}`, []string{"target"}, false},
		{"URL type behind a reference", `{"properties":{"target":{"$ref":"#/$defs/U"}},"$defs":{"U":{"format":"uri"}}}`, nil, true},
		{"dependent schema", `{"dependentSchemas":{"x":{"properties":{"target":{"format":"url"}}}}}`, []string{"target"}, false},
		{"a property called format", `{"properties":{"format":{"type":"string"}}}`, nil, false},
		{"a property called properties", `{"properties":{"properties":{"format":"uri"}}}`, []string{"properties"}, false},
		{"another format", `{"properties":{"target":{"format":"date"}}}`, nil, false},
		{"endless references", `{"$ref":"` + strings.Repeat("#/", 1000) + `"}`, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := wire.Scan([]byte(`{"jsonrpc":"2.0","id":1,"result":{"name":"x","inputSchema":`+tt.schema+`}}`), wire.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			info := describe(m, m.Result)
			if got := slices.Sorted(maps.Keys(info.urls)); !slices.Equal(got, tt.urls) || info.anyURL != tt.any {
				t.Errorf("%v, any %v; want %v, any %v", got, info.anyURL, tt.urls, tt.any)
			}
		})
	}
}
