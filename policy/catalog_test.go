package policy

import (
	"reflect"
	"testing"
)

func demoCatalog() *Catalog {
	entry := func(action string) Entry {
		return Entry{Permission{"document", action}, []string{"documents:" + action}, action}
	}
	return NewCatalog(map[string]Entry{
		"docs/create_document": entry("create"),
		"docs/import_url":      entry("create"),
		"docs/read_document":   entry("read"),
		"docs/render_document": entry("read"),
		"docs/update_document": entry("update"),
		"docs/delete_document": entry("delete"),
	})
}

func TestCatalogLookup(t *testing.T) {
	demo := demoCatalog()
	partial := NewCatalog(map[string]Entry{
		"docs/a/b":  {Scopes: []string{"x:y"}},
		"docs/res":  {Permission: Permission{Object: "thing"}},
		"docs/act":  {Permission: Permission{Action: "read"}},
		"docs/name": {Action: "rename"},
		"noslash":   {Action: "never"},
	})
	for _, row := range []struct {
		name         string
		catalog      *Catalog
		server, tool string
		want         Entry
		ok           bool
	}{
		{"known", demo, "docs", "delete_document", Entry{Permission{"document", "delete"}, []string{"documents:delete"}, "delete"}, true},
		{"two tools, one permission", demo, "docs", "import_url", Entry{Permission{"document", "create"}, []string{"documents:create"}, "create"}, true},
		{"unknown tool", demo, "docs", "drop_table", Entry{}, false},
		{"unknown server", demo, "fs", "delete_document", Entry{}, false},
		{"upper case", demo, "docs", "Delete_document", Entry{}, false},
		{"names do not run together", demo, "docs/delete_document", "", Entry{}, false},
		{"empty", demo, "", "", Entry{}, false},
		{"nil catalog", nil, "docs", "delete_document", Entry{}, false},
		{"empty catalog", NewCatalog(nil), "docs", "delete_document", Entry{}, false},
		{"scopes only", partial, "docs", "a/b", Entry{Permission{"docs/a/b", "call"}, []string{"x:y"}, "a/b"}, true},
		{"slash belongs to the tool", partial, "docs/a", "b", Entry{}, false},
		{"resource only", partial, "docs", "res", Entry{Permission{"thing", "call"}, nil, "res"}, true},
		{"action only", partial, "docs", "act", Entry{Permission{"docs/act", "read"}, nil, "read"}, true},
		{"shown action only", partial, "docs", "name", Entry{Permission{"docs/name", "call"}, nil, "rename"}, true},
		{"key without a slash", partial, "", "noslash", Entry{}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := row.catalog.Lookup(row.server, row.tool)
			if ok != row.ok || !reflect.DeepEqual(got, row.want) {
				t.Errorf("Lookup(%q, %q) = %+v, %t, want %+v, %t", row.server, row.tool, got, ok, row.want, row.ok)
			}
		})
	}
}

func TestCatalogKeepsItsOwnCopy(t *testing.T) {
	scopes := []string{"documents:delete"}
	entries := map[string]Entry{"docs/x": {Scopes: scopes}}
	c := NewCatalog(entries)
	scopes[0] = "documents:read"
	clear(entries)
	if got, ok := c.Lookup("docs", "x"); !ok || got.Scopes[0] != "documents:delete" {
		t.Errorf("Lookup = %+v, %t after the caller changed its map", got, ok)
	}
}

func TestDefault(t *testing.T) {
	for _, row := range []struct {
		name, server, tool string
		want               Entry
	}{
		{"plain", "docs", "get", Entry{Permission{"docs/get", "call"}, nil, "get"}},
		{"tool with a slash", "docs", "a/b", Entry{Permission{"docs/a/b", "call"}, nil, "a/b"}},
		{"no tool", "docs", "", Entry{}},
		{"no server", "", "get", Entry{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := Default(row.server, row.tool)
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("Default = %+v, want %+v", got, row.want)
			}
			if got.Permission == (Permission{}) && Builtin().Decide("user:x", got.Permission).Allowed {
				t.Error("the empty permission is allowed")
			}
		})
	}
}
