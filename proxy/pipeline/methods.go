package pipeline

import "mcp-sidecar/proxy/wire"

// need says what a method requires beside authentication.
type need uint8

const (
	principalOnly need = iota // protocol business; what it lists is filtered
	toolAccess                // params.name is a tool: scope and role of its entry
	ownRequest                // params.requestId is a request of the sender's that is in flight
)

// method is one row of the method table.
type method struct {
	legacy, modern bool // eras in which the method exists
	need           need
	target         string // member of params that names what is acted on
	opensSession   bool
}

type methodKey struct {
	dir  Direction
	kind wire.Kind
	name string
}

// methods is the whole list of what passes. What is not in it is refused:
//
//   - resources/*, prompts/*, completion/*, logging/*, subscriptions/*, tasks/*:
//     not built yet
//   - sampling/createMessage, elicitation/create, roots/list and ping from the
//     upstream: not built yet; the upstream is told -32601
//   - ping from a client of 2026-07-28: the revision removed it
//   - everything else: unknown
var methods = map[methodKey]*method{
	{FromClient, wire.Request, "initialize"}:                     {legacy: true, opensSession: true},
	{FromClient, wire.Request, "server/discover"}:                {modern: true},
	{FromClient, wire.Request, "ping"}:                           {legacy: true},
	{FromClient, wire.Request, "tools/list"}:                     {legacy: true, modern: true},
	{FromClient, wire.Request, "tools/call"}:                     {legacy: true, modern: true, need: toolAccess, target: "name"},
	{FromClient, wire.Notification, "notifications/initialized"}: {legacy: true},
	{FromClient, wire.Notification, "notifications/cancelled"}:   {legacy: true, modern: true, need: ownRequest},

	{FromUpstream, wire.Notification, "notifications/progress"}:           {legacy: true, modern: true},
	{FromUpstream, wire.Notification, "notifications/message"}:            {legacy: true, modern: true},
	{FromUpstream, wire.Notification, "notifications/tools/list_changed"}: {legacy: true, modern: true},
}

func lookup(dir Direction, kind wire.Kind, name string, era Era) *method {
	m := methods[methodKey{dir, kind, name}]
	if m == nil || (era == Modern && !m.modern) || (era == Legacy && !m.legacy) {
		return nil
	}
	return m
}

// Protocol revisions that pass, newest first.
const revisionModern = "2026-07-28"

var (
	revisions       = []string{revisionModern, "2025-11-25", "2025-06-18", "2025-03-26"}
	legacyRevisions = revisions[1:]
)
