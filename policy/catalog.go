package policy

import (
	"slices"
	"strings"
)

// Entry is what a tool needs before it may run.
type Entry struct {
	Permission Permission
	Scopes     []string // all of them must be granted to the token; shared, not to be changed
	Action     string   // what a guard or a reader calls the act: "delete"
}

// Catalog maps tools to entries. It is immutable and safe for concurrent use;
// a nil Catalog has no entry.
type Catalog struct {
	entries map[toolName]Entry
}

type toolName struct{ server, tool string }

// NewCatalog copies entries, whose keys are "server/tool" ("docs/delete_document").
// The server ends at the first slash; a key without one names no tool and is
// never found. What an entry leaves empty it takes from [Default], so an entry
// that only names scopes keeps the permission "server/tool", "call".
func NewCatalog(entries map[string]Entry) *Catalog {
	c := &Catalog{entries: make(map[toolName]Entry, len(entries))}
	for key, e := range entries {
		server, tool, ok := strings.Cut(key, "/")
		if !ok {
			continue
		}
		c.entries[toolName{server, tool}] = e.complete(Default(server, tool))
	}
	return c
}

// complete fills what e leaves empty.
func (e Entry) complete(d Entry) Entry {
	if e.Action == "" {
		e.Action = e.Permission.Action
	}
	if e.Action == "" {
		e.Action = d.Action
	}
	if e.Permission.Object == "" {
		e.Permission.Object = d.Permission.Object
	}
	if e.Permission.Action == "" {
		e.Permission.Action = d.Permission.Action
	}
	e.Scopes = slices.Clone(e.Scopes)
	return e
}

// Lookup finds the entry of a tool. It does not allocate.
func (c *Catalog) Lookup(server, tool string) (Entry, bool) {
	if c == nil {
		return Entry{}, false
	}
	e, ok := c.entries[toolName{server, tool}]
	return e, ok
}

// Relations of whoever asks to what he asks about, behind an action: a row about
// "update:own" allows it for what is his, one about "update:any" for everything.
const (
	Own = ":own"
	Any = ":any"
)

// Default is the entry of a tool that the catalog does not know: the object
// "server/tool", the action "call", no scope, and the bare tool name as the
// act. An empty server or tool gives the empty entry, which every engine denies.
func Default(server, tool string) Entry {
	if server == "" || tool == "" {
		return Entry{}
	}
	return Entry{Permission: Permission{Object: server + "/" + tool, Action: "call"}, Action: tool}
}
