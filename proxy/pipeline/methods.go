package pipeline

import (
	"slices"

	"mcp-sidecar/proxy/wire"
)

// need says what a method requires beside authentication.
type need uint8

const (
	principalOnly need = iota // protocol business; what it lists is filtered
	access                    // what target names: scope and role of its entry
	ownRequest                // params.requestId is a request of the sender's that is in flight
	ownAsked                  // params.requestId or progressToken belongs to a request that the upstream asked of this session
	ownTask                   // params.taskId was given to this principal
	filter                    // the resources in a subscription filter, each like a read of it
)

// method is one row of the method table.
type method struct {
	legacy, modern  bool // eras in which the method exists
	need            need
	kind            feature // of what target names
	target          string  // member of params that names what is acted on
	named           bool    // in 2026-07-28 the target also stands in Mcp-Name
	opensSession    bool
	unauthenticated bool   // over stdio it is answered before anybody is authenticated, and grants nothing
	long            bool   // its answer is a stream that stays open
	asks            bool   // its result may be input_required
	capability      string // what the client must have declared when it opened the session
	admitted        bool   // by the configuration, not by this table
}

type methodKey struct {
	dir  Direction
	kind wire.Kind
	name string
}

// methods is the whole list of what passes. What is not in it is refused, unless
// the configuration admits it by name:
//
//   - ping, logging/setLevel, resources/subscribe and notifications other than
//     cancelled from a client of 2026-07-28, and requests from the upstream: the
//     revision removed them
//   - everything else: unknown
//
// tasks/* is experimental in 2025-11-25 and an extension in 2026-07-28.
var methods = map[methodKey]*method{
	{FromClient, wire.Request, "initialize"}:               {legacy: true, opensSession: true, unauthenticated: true},
	{FromClient, wire.Request, "server/discover"}:          {modern: true, unauthenticated: true},
	{FromClient, wire.Request, "ping"}:                     {legacy: true, unauthenticated: true},
	{FromClient, wire.Request, "logging/setLevel"}:         {legacy: true},
	{FromClient, wire.Request, "tools/list"}:               {legacy: true, modern: true},
	{FromClient, wire.Request, "tools/call"}:               {legacy: true, modern: true, need: access, kind: aTool, target: "name", named: true, asks: true},
	{FromClient, wire.Request, "resources/list"}:           {legacy: true, modern: true},
	{FromClient, wire.Request, "resources/templates/list"}: {legacy: true, modern: true},
	{FromClient, wire.Request, "resources/read"}:           {legacy: true, modern: true, need: access, kind: aResource, target: "uri", named: true, asks: true},
	{FromClient, wire.Request, "resources/subscribe"}:      {legacy: true, need: access, kind: aResource, target: "uri"},
	{FromClient, wire.Request, "resources/unsubscribe"}:    {legacy: true, need: access, kind: aResource, target: "uri"},
	{FromClient, wire.Request, "prompts/list"}:             {legacy: true, modern: true},
	{FromClient, wire.Request, "prompts/get"}:              {legacy: true, modern: true, need: access, kind: aPrompt, target: "name", named: true, asks: true},
	{FromClient, wire.Request, "completion/complete"}:      {legacy: true, modern: true, need: access, kind: aRef, target: "ref"},
	{FromClient, wire.Request, "subscriptions/listen"}:     {modern: true, need: filter, long: true},
	{FromClient, wire.Request, "tasks/list"}:               {legacy: true},
	{FromClient, wire.Request, "tasks/result"}:             {legacy: true, need: ownTask, kind: aTask, target: "taskId"},
	{FromClient, wire.Request, "tasks/get"}:                {legacy: true, modern: true, need: ownTask, kind: aTask, target: "taskId", named: true},
	{FromClient, wire.Request, "tasks/update"}:             {modern: true, need: ownTask, kind: aTask, target: "taskId", named: true},
	{FromClient, wire.Request, "tasks/cancel"}:             {legacy: true, modern: true, need: ownTask, kind: aTask, target: "taskId", named: true},

	{FromClient, wire.Notification, "notifications/initialized"}:        {legacy: true, unauthenticated: true},
	{FromClient, wire.Notification, "notifications/cancelled"}:          {legacy: true, modern: true, need: ownRequest},
	{FromClient, wire.Notification, "notifications/progress"}:           {legacy: true, need: ownAsked},
	{FromClient, wire.Notification, "notifications/roots/list_changed"}: {legacy: true, capability: "roots"},

	{FromUpstream, wire.Request, "ping"}:                   {legacy: true},
	{FromUpstream, wire.Request, "sampling/createMessage"}: {legacy: true, capability: "sampling"},
	{FromUpstream, wire.Request, "elicitation/create"}:     {legacy: true, capability: "elicitation"},
	{FromUpstream, wire.Request, "roots/list"}:             {legacy: true, capability: "roots"},
	{FromUpstream, wire.Request, "tasks/get"}:              {legacy: true, capability: "tasks"},
	{FromUpstream, wire.Request, "tasks/list"}:             {legacy: true, capability: "tasks"},
	{FromUpstream, wire.Request, "tasks/result"}:           {legacy: true, capability: "tasks"},
	{FromUpstream, wire.Request, "tasks/cancel"}:           {legacy: true, capability: "tasks"},

	{FromUpstream, wire.Notification, "notifications/cancelled"}:                  {legacy: true, need: ownAsked},
	{FromUpstream, wire.Notification, "notifications/progress"}:                   {legacy: true, modern: true, need: ownRequest},
	{FromUpstream, wire.Notification, "notifications/message"}:                    {legacy: true, modern: true},
	{FromUpstream, wire.Notification, "notifications/tools/list_changed"}:         {legacy: true, modern: true},
	{FromUpstream, wire.Notification, "notifications/prompts/list_changed"}:       {legacy: true, modern: true},
	{FromUpstream, wire.Notification, "notifications/resources/list_changed"}:     {legacy: true, modern: true},
	{FromUpstream, wire.Notification, "notifications/resources/updated"}:          {legacy: true, modern: true, need: access, kind: aResource, target: "uri"},
	{FromUpstream, wire.Notification, "notifications/elicitation/complete"}:       {legacy: true},
	{FromUpstream, wire.Notification, "notifications/tasks/status"}:               {legacy: true, need: ownTask, kind: aTask, target: "taskId"},
	{FromUpstream, wire.Notification, "notifications/tasks"}:                      {modern: true, need: ownTask, kind: aTask, target: "taskId"},
	{FromUpstream, wire.Notification, "notifications/subscriptions/acknowledged"}: {modern: true},
}

// Rows that stand for no method name.
var (
	// response is the client's answer to a request that the upstream asked.
	response = &method{legacy: true}
	// redelivery is an answer of the upstream's that comes again, on the stream
	// with which a client resumes (MCP 2025-11-25, "Resumability and Redelivery").
	redelivery = &method{legacy: true}
	// extension is a method that the configuration admits by name. Its object is
	// server/method:NAME, with an id or without: a server may act on either.
	extension = &method{legacy: true, modern: true, need: access, kind: aMethod, admitted: true}
	// extensionNotice is a notification of such a method from the upstream.
	extensionNotice = &method{legacy: true, modern: true, admitted: true}
)

// lookup finds the row of a message, or nil.
func (p *Pipeline) lookup(dir Direction, kind wire.Kind, name string, era Era) *method {
	m := methods[methodKey{dir, kind, name}]
	switch {
	case m != nil && (era == Modern && m.modern || era == Legacy && m.legacy):
		return m
	case m != nil || !slices.Contains(p.opts.Methods, name):
		return nil
	case dir == FromUpstream && kind == wire.Notification:
		return extensionNotice
	case dir == FromUpstream && era == Modern:
		return nil // 2026-07-28 has no requests in this direction
	}
	return extension
}

// Protocol revisions that pass, newest first.
const revisionModern = "2026-07-28"

// LegacyRevisions are those that are agreed on by initialize, newest first.
func LegacyRevisions() []string { return slices.Clone(legacyRevisions) }

var (
	revisions       = []string{revisionModern, "2025-11-25", "2025-06-18", "2025-03-26"}
	legacyRevisions = revisions[1:]
)
