package pipeline

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"mcp-sidecar/guards"
	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// Direction says who started a message.
type Direction uint8

// Directions. The zero value comes from a client.
const (
	FromClient Direction = iota
	FromUpstream
)

func (d Direction) String() string {
	return [...]string{"client", "upstream"}[d]
}

// Transports of a client. Over stdio a message has no headers: what they would
// say stands in its body.
const (
	HTTP  = "http"
	Stdio = "stdio"
)

// Era is the family of protocol revisions that a message follows.
type Era uint8

// Eras.
const (
	Legacy Era = iota // 2025-11-25 and older: initialize, sessions
	Modern            // 2026-07-28: stateless, metadata on each request
)

// Header is one MCP request header. Several values under one name are not told
// apart from one wrong value: which of them counts would be a guess.
type Header struct {
	Value   string
	Present bool
	Several bool
}

// Head is what the transport says about a message beside its body.
type Head struct {
	Version, Method, Name Header
	Params                map[string][]string // Mcp-Param-* by canonical name
	Session               string              // Mcp-Session-Id
	LastEvent             string              // Last-Event-ID
	Authorization         identity.Secrets    // every value of the header
	QueryTokens           identity.Secrets    // every token that stood in the query
}

// Body is a message that has not been read yet.
type Body struct {
	Reader io.Reader
	Size   int64 // as announced; -1 when unknown
}

// Call is everything about one message, filled in on its way. Nothing travels
// beside it.
type Call struct {
	ID        string // audit id, UUIDv7
	Parent    string // audit id of the call on whose stream an upstream's message came
	Dir       Direction
	Verb      wire.Verb
	Transport string
	Head      Head
	Body      Body
	Refused   *Rejection // front's own refusal: it runs the list like any other, to be audited
	Forwarded func()     // called once, when the message is about to reach the upstream; may be nil

	Msg     *wire.Message
	Era     Era
	Version string // protocol revision; empty before one is agreed
	Method  string
	Target  string            // what the message acts on: a tool, a prompt, a resource's URI, a task
	Args    int               // node of params.arguments, or wire.Absent
	server  string            // whose Target is, as it was decided about; empty without a target
	bare    string            // what that server calls it
	runs    string            // the tool that the task in Target runs
	owners  map[string]string // the server of each resource in a subscription

	Principal  identity.Principal
	delegation *identity.Delegation // what stands for it, where a server wants that
	Session    *Session
	Entry      policy.Entry // what the call needs
	Stage      string
	Outcome    Outcome
	Findings   []guards.Finding // the first of each label
	Would      []string         // what an observed check would have done
	Excepted   []string         // rules that the operator lets be, and that had found something

	roles        []string // of the principal: its own, the policy's, and what they inherit
	method       *method
	targetKind   feature
	rule         ToolRule
	tool         toolInfo
	presented    identity.Secrets          // the credentials, where they must not turn up
	forms        identity.Hidden[[]string] // the same, as they may be disguised
	doubt        *identity.Refusal         // why no token in the message counts
	verified     bool
	destructive  bool
	holdsQuota   bool
	usesSession  bool
	lastEvent    string                 // the upstream's id of what the client read last
	asked        int                    // requests that the upstream started on this call's stream
	carrier      int                    // node of the token in the body, or 0
	argument     int                    // node of the argument that is a token, or is called like one; or 0
	memo         *Call                  // FromUpstream responses: the call that is answered once more
	pending      *asked                 // client responses: the request that is answered
	watching     bool                   // holds one of the session's places for streams
	remembered   bool                   // the session keeps this call for redelivery
	ended        atomic.Pointer[string] // why an answer ended without a result
	holdsSession bool
	window       *window // what its stream has carried, for what is split over messages
	head         []byte  // beginning of the body, for early refusals
	request      []byte  // what is forwarded: the body, patched
	params       []wire.Header
	reply        wire.Reply
	result       []byte // the inspected terminal answer
	events       int
	dropped      int
	bytesIn      int
	bytesOut     int
	policy       Authorizer // by which c is decided; nil before that
	decision     string     // policy row
	refusal      *Rejection
	out          Sink
	started      time.Time
	waited       float64 // milliseconds
}

// Format, LogValue and MarshalText write the call's id, whatever is asked for. The
// message may hold the caller's token, and what is forwarded the sidecar's own: a call
// that is printed by mistake must show neither.
func (c *Call) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "call "+c.ID) }

// LogValue is described at Format.
func (c *Call) LogValue() slog.Value { return slog.StringValue("call " + c.ID) }

// MarshalText is described at Format.
func (c *Call) MarshalText() ([]byte, error) { return []byte("call " + c.ID), nil }

func (c *Call) begin(now time.Time, out Sink) {
	if c.ID == "" {
		c.ID = newID()
	}
	c.started, c.out, c.Args = now, out, wire.Absent
	for _, values := range [...]identity.Secrets{c.Head.Authorization, c.Head.QueryTokens} {
		for i := range values.Len() {
			c.present(credentialIn(values.At(i).Reveal()))
		}
	}
}

// shortestToken is the length below which a credential is too short to be told
// from ordinary words, in bytes.
const shortestToken = 8

// present notes a credential as it was sent, well-formed or not: it must not turn
// up elsewhere even when it is refused.
func (c *Call) present(credential string) {
	if len(credential) >= shortestToken {
		c.presented.Add(identity.NewSecret(credential))
		c.forms = identity.Hidden[[]string]{}
	}
}

// credentialIn is what follows the scheme in a header, or all of it.
func credentialIn(value string) string {
	if _, token, ok := strings.Cut(value, " "); ok {
		value = token
	}
	return strings.TrimSpace(value)
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// reject ends the call. Whatever is no Rejection is a fault of ours: the client
// learns nothing of it.
func (c *Call) reject(err error) {
	var r *Rejection
	if !errors.As(err, &r) {
		r = failed(err)
	}
	c.refusal, c.Outcome, c.result = r, r.Outcome, nil
}

// observed records, once, what a check would have done where it does not enforce.
func (c *Call) observed(what string) {
	if !slices.Contains(c.Would, what) {
		c.Would = append(c.Would, what)
	}
}

// found records findings, each label once: a stream may go on for ever.
func (c *Call) found(findings ...guards.Finding) {
	for _, f := range findings {
		same := func(old guards.Finding) bool { return old.Label == f.Label }
		if !slices.ContainsFunc(c.Findings, same) {
			c.Findings = append(c.Findings, f)
		}
	}
}

// isRequest says whether an answer is expected.
func (c *Call) isRequest() bool {
	return c.Verb == wire.Send && (c.Msg == nil || c.Msg.Kind == wire.Request)
}

// isToolCall says whether refusals can be tool results, which a model reads.
func (c *Call) isToolCall() bool {
	return c.Msg != nil && c.Msg.Kind == wire.Request && c.Method == "tools/call" && c.Dir == FromClient
}
