package pipeline

import (
	"context"
	"log/slog"
	"time"

	"mcp-sidecar/guards"
	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// Limits bound what one message or one principal may cost.
type Limits struct {
	RequestBody    int64       // bytes
	Message        wire.Limits // a client's message
	Answer         wire.Limits // an upstream's message
	Tools          int         // tools of the upstream
	ToolDefinition int         // bytes of one entry of tools/list
	Sessions       int         // open sessions of one principal
	Concurrent     int         // requests in flight of one principal
	Rate           Rate        // requests of one principal over time
}

// Review is shown what an output guard has found in a text, and returns that and what it has to
// add; passed says that it could not tell and lets the text be. It may wait, where guards do not, and bounds how
// long for the whole message.
type Review func(guard string, t guards.Text, found []guards.Finding) (all []guards.Finding, passed bool)

// Property is an argument that the sidecar adds to published schemas.
type Property struct {
	Name   string
	Schema []byte
}

// ToolRule is what the configuration says about one tool beside what it needs.
// The zero value is a tool without an entry.
type ToolRule struct {
	Hide          bool
	Named         bool // the configuration has an entry for it
	Wrap          guards.Wrap
	TrustedBlocks []int
	Source        string // template: "document:{id}"; empty means server/tool
	InjectSubject []string
	Handles       []string               // members of its results that are handles, bound to who reads them
	HandleArgs    []string               // arguments that must be such handles
	Owner         string                 // argument that says whose the thing is; empty where nobody asks
	OwnerHandle   bool                   // by being a handle that the caller was given, in place of his subject
	Guards        map[string]guards.Mode // by guard name, where the tool has its own
	Exceptions    []Exception
}

// Options are the parts and settings of a pipeline.
type Options struct {
	Server        string        // the upstream's name in configuration and policy
	Authenticator Authenticator // nil: everybody is Anyone
	// Anyone is who everybody is without an Authenticator. Zero means
	// identity.Anonymous.
	Anyone identity.Principal
	// Methods are admitted beyond the method table, by name, in both directions.
	Methods []string
	// SharedPipe says that one session or process of the upstream may serve several
	// principals of one pipe.
	SharedPipe bool
	// Delegated names servers that are shown a credential issued for each caller. What
	// they offer is the caller's, so no definition of theirs is shared. Nil means that
	// there are none.
	Delegated map[string]bool
	// Split tells of which server a target of an owner's is and what the server calls
	// it. Nil means that everything is Server's.
	Split func(owner, target string) (server, name string)
	// Locate makes sure that Split knows whose a resource is, where servers have to
	// be asked for that. Nil means that it knows.
	Locate func(ctx context.Context, x wire.Exchange, uri string) error
	// SealKey seals what the upstream wants back from the client. Empty means a
	// random key: then only this process can open it.
	SealKey identity.Hidden[[]byte]
	// Policy gives the policy in force. With an error nobody can say whether it still
	// is: then nothing is allowed.
	Policy        func() (Authorizer, error)
	Authorization guards.Mode // Enforce, or Observe
	PerCaller     bool        // the policy tells callers apart, so that lists are private
	Catalog       *policy.Catalog
	Scopes        policy.Hierarchy    // which scopes include others
	Rules         map[string]ToolRule // by bare tool name
	Upstream      Upstream
	Recorder      Recorder
	Limits        Limits
	// Shared is what the pipelines of one sidecar count together. Nil means that
	// there is only this one.
	Shared *Shared

	Input  []guards.Input         // in order
	Said   []guards.Input         // for what clients write beside the arguments of tools; in order
	Output []guards.Output        // in order
	Modes  map[string]guards.Mode // by guard name; absent means Enforce
	// Quarantine hides tools that the configuration does not name.
	Quarantine bool
	// Exceptable says whether an exception of rule in guard can be made for tool
	// ("docs/import_url"). Nil means that there are no exceptions.
	Exceptable func(guard, rule, tool string) bool
	// Review starts the review of one message. Nil reviews nothing.
	Review func() Review
	// Nonce makes the random text of the delimiters of one message. Nil means that they have
	// none.
	Nonce func() string
	// Passive changes no byte of any message: everything is only recorded.
	Passive bool

	// NeedsConfirm says whether a call of the tool is destructive enough to need
	// the Confirm argument.
	NeedsConfirm func(*guards.Call) bool
	Confirm      Property
	// Token is the argument of a tool call that may carry the caller's token. Without
	// a name there is none.
	Token Property
	// Listed is told, after the start and again after the server said that its tools
	// changed, which arguments each tool takes that the server lists, by the names it
	// has there; nil where the schema does not say. It is not told of servers that offer
	// each caller something of his own. Nil means that nobody wants to know.
	Listed func(server string, tools map[string][]string)
	// Arguments carry the sidecar's own credential in tool calls, by server. Nil
	// means that none does.
	Arguments map[string]Argument
	// Own are the sidecar's credentials as they are now, those that the upstream is
	// shown for a caller among them, which no answer to him may echo.
	// Nil means that there are none.
	Own func(caller identity.Principal) []string
	// Note writes the text that tells a reader what the guards found.
	Note func(labels []string) string
	// Compile prepares the schemas of arguments and results. Nil holds them to none.
	Compile Compile
	// Redact removes secrets from a text for logs.
	Redact func(string) string

	Log *slog.Logger
	Now func() time.Time
	// After runs a function later. Nil means the system's timer.
	After func(time.Duration, func())
}

// Compile prepares a JSON Schema. What it returns says whether a value fits and, where it does
// not, the place in the schema that objects, if that can be shown; an error means that this
// could not be judged.
type Compile func(schema []byte) (func(value []byte) (place string, fits bool, err error), error)

// Shared counts what a principal holds over all pipelines that were given it:
// open sessions and calls in flight. Bounds that each server had for itself would
// multiply with their number.
type Shared struct {
	sessions *sessions
	quota    quota
	rates    rates
}

// NewShared returns an empty Shared. Only the sessions of l are looked at here:
// at most that many of one principal are open, each with the server that it was
// opened with. A nil clock is the system's.
func NewShared(l Limits, now func() time.Time) *Shared {
	if now == nil {
		now = time.Now
	}
	return &Shared{sessions: newSessions(l.Sessions, now)}
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Shared == nil {
		o.Shared = NewShared(o.Limits, o.Now)
	}
	if o.After == nil {
		o.After = func(d time.Duration, f func()) { time.AfterFunc(d, f) }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Redact == nil {
		o.Redact = func(string) string { return "[withheld]" }
	}
	if o.Anyone.Subject == "" {
		o.Anyone = identity.Anonymous()
	}
	if o.Split == nil {
		o.Split = func(_, target string) (string, string) { return o.Server, target }
	}
	if o.NeedsConfirm == nil {
		o.NeedsConfirm = func(*guards.Call) bool { return true }
	}
	return o
}
