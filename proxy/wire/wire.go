// Package wire carries JSON-RPC messages as the bytes they arrived in.
//
// A [Message] is its raw bytes plus an index of spans that one strict scan
// yields. Whoever wants to change something makes patches and splices them in;
// every other byte passes as it came, so that big integers, unknown fields and
// exotic formatting survive. What was inspected is what is forwarded: there is
// no second parse and no re-encoding in between.
//
// The package knows JSON, JSON-RPC and server-sent events. It knows no policy.
package wire

import (
	"errors"
	"fmt"
)

// JSON-RPC 2.0 and MCP error codes that the transport itself answers with.
const (
	CodeParse          = -32700 // not JSON, or not UTF-8
	CodeInvalidRequest = -32600 // JSON, but not one acceptable JSON-RPC message
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeHeaderMismatch = -32020 // MCP 2026-07-28, basic/transports/streamable-http, "Server Validation"
	CodeUnsupported    = -32022 // MCP 2026-07-28, basic/versioning, "Protocol Version Negotiation"
)

// Error says why bytes are no acceptable message. Text is safe to show to the
// sender: it names the defect and never echoes what was sent.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Text, e.Code) }

// Limits bound one message. Zero fields mean the defaults of [DefaultLimits].
type Limits struct {
	Depth  int // nesting of objects and arrays; the message itself is 1
	Keys   int // object members in the whole message
	Values int // indexed values: members, strings, containers
}

// DefaultLimits are those of a request from a client.
var DefaultLimits = Limits{Depth: 64, Keys: 10_000, Values: 1 << 18}

// Verb is what an exchange asks of the transport.
type Verb uint8

// Verbs. The zero value carries a message.
const (
	Send  Verb = iota // one message; HTTP POST
	End               // end the session; HTTP DELETE
	Watch             // the session's standalone stream; HTTP GET
)

// Header is one Mcp-Param-* header, its value decoded.
type Header struct{ Name, Value string }

// Delegated stands for the caller of an exchange towards upstreams that are shown a
// credential issued for each caller. It yields nothing here: the way to such an
// upstream trades it for what an authorization server has issued. No type that
// holds what a client presented has this method.
type Delegated interface{ Delegated() }

// Exchange is everything that travels to an upstream. It is built from nothing
// for each message: there is no field from which a client's credential could be
// read, so none can be passed through by mistake.
type Exchange struct {
	Verb    Verb
	Body    []byte   // the message; nil unless Verb is Send
	Call    bool     // the message is a request: an answer is expected
	Long    bool     // the answer is a stream that may be silent for as long as it likes
	Own     bool     // the request is the sidecar's own: no client sees what else comes on its stream
	Version string   // MCP-Protocol-Version; empty sends none
	Method  string   // Mcp-Method; empty sends none (revisions before 2026-07-28)
	Name    string   // Mcp-Name, decoded; empty sends none
	Params  []Header // Mcp-Param-*
	Session string   // the upstream's own session id; empty sends none
	// LastEvent is the id of the last event that was received, for Watch: the
	// upstream sends what came after it (MCP 2025-11-25, basic/transports,
	// "Resumability and Redelivery"). Empty sends none.
	LastEvent string
	// Owner tells principals apart for upstreams that keep a process for each. It
	// is a key of this process and never leaves it.
	Owner string
	// Delegated is for upstreams whose credential is issued for each caller. Nil
	// where there is none, or nobody who was verified.
	Delegated Delegated
	// Server says to which of several servers the message goes, where the upstream
	// is several: to the one that was decided about. It never leaves the process.
	Server string
	// Owners does the same for a subscription, which names several resources: the
	// server of each URI.
	Owners map[string]string
}

// Reply is how an upstream took an exchange, before any message of the answer.
type Reply struct {
	Status  int    // HTTP status; 200 for transports that have none
	Stream  bool   // the answer is a stream of events
	Session string // session id that the upstream assigned
}

// ErrDone is what a Sink returns when the answer is complete. The exchange then
// ends without an error, whether or not the upstream closes its stream.
var ErrDone = errors.New("answer complete")

// Sink takes an upstream's answer as it arrives: Reply once, then Message for
// each message of the answer. An error stops the exchange.
type Sink interface {
	Reply(Reply) error
	Message(Event) error
}
