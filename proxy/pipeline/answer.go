package pipeline

import (
	"net/http"
	"strconv"

	"mcp-sidecar/proxy/wire"
)

// Answer ends a call. What it means for the transport stands in Outcome and
// Status; Body is JSON-RPC whatever the transport.
type Answer struct {
	Outcome Outcome
	Code    int    // JSON-RPC error code; 0 for a result
	Status  int    // HTTP status
	Body    []byte // nil: none
	Stream  bool   // the upstream answered with a stream; so should we

	Challenge  *Challenge // 401 and 403
	RetryAfter int        // seconds; 0: not said
	Allow      string     // 405
}

// Challenge is what WWW-Authenticate says beside the metadata's address
// (RFC 6750 section 3, RFC 9728 section 5.1).
type Challenge struct {
	Error       string   // empty when no credential was sent
	Description string   // fixed phrase
	Scope       []string // all scopes that are needed
}

// answer turns the outcome into what the sender reads. It is the one place that
// does.
func (p *Pipeline) answer(c *Call) *Answer {
	switch {
	case c.Outcome == Allowed && c.Verb == wire.End:
		return &Answer{Outcome: Allowed, Status: http.StatusNoContent}
	case c.Outcome == Allowed && c.Dir == FromUpstream:
		return &Answer{Outcome: Allowed, Status: http.StatusOK, Body: c.result}
	case c.Outcome == Allowed && c.Verb == wire.Watch:
		return &Answer{Outcome: Allowed, Status: http.StatusOK, Stream: true}
	case c.Outcome == Allowed && !c.isRequest():
		return &Answer{Outcome: Allowed, Status: http.StatusAccepted}
	case c.Outcome == Allowed:
		return allowed(c)
	case c.refusal == nil:
		c.reject(failed(nil)) // Undecided is a fault of ours, never success
	}
	return refused(c)
}

func allowed(c *Call) *Answer {
	a := &Answer{Outcome: Allowed, Status: http.StatusOK, Body: c.result, Stream: c.reply.Stream}
	if !a.Stream && c.reply.Status >= 400 {
		a.Status = c.reply.Status // the upstream's own protocol error, such as 404 with -32601
		if a.Status >= 500 {
			a.Status = http.StatusBadGateway
		}
	}
	return a
}

func refused(c *Call) *Answer {
	r := c.refusal
	a := &Answer{Outcome: r.Outcome, Code: r.Code, Status: status(c, r), RetryAfter: r.RetryAfter, Allow: r.Allow, Challenge: challenge(r)}
	switch {
	case r.Silent:
		return a
	case c.Msg != nil && c.Msg.Kind == wire.Notification && c.verified && r.Outcome != AuthFailed && r.Outcome != Unavailable:
		// A notification has no answer; its refusal stands in the audit record.
		a.Status, a.Challenge, a.RetryAfter = http.StatusAccepted, nil, 0
		return a
	case c.isToolCall() && (r.asResult() || c.Transport == Stdio && (r.Outcome == AuthFailed || r.Outcome == NotAuthorized)):
		// Over stdio there is no challenge that a client could act on.
		a.Status, a.RetryAfter, a.Code, a.Challenge = http.StatusOK, 0, 0, nil
		a.Body = toolRefusal(c, r)
		return a
	}
	a.Body = errorBody(c, r)
	return a
}

// asResult says whether a tool call reads the refusal as a tool's error, which a
// model can act on, instead of as an error of the protocol.
func (r *Rejection) asResult() bool {
	switch r.Outcome {
	case Blocked:
		return true
	case NotAuthorized:
		return r.Code == CodeRole // a new token would not help, so no 403
	case Limited:
		return r.Reason == "concurrency" || r.Reason == "rate"
	}
	return false
}

// status maps an outcome to HTTP. Older revisions answer protocol errors of
// well-formed requests with 200.
func status(c *Call, r *Rejection) int {
	switch {
	case r.Status != 0:
		return r.Status
	case r.Outcome == AuthFailed:
		return http.StatusUnauthorized
	case r.Outcome == NotAuthorized && r.Code == CodeScope:
		return http.StatusForbidden
	case r.Outcome == Limited:
		return http.StatusTooManyRequests
	case r.Outcome == Unavailable:
		return http.StatusServiceUnavailable
	case r.Outcome == UpstreamFailed:
		return http.StatusBadGateway
	case r.Outcome == Blocked, r.Outcome == NotAuthorized, r.Outcome == ConsentRequested:
		return http.StatusOK
	case r.Outcome != ProtocolRejected:
		return http.StatusInternalServerError
	case c.Era == Legacy && c.Msg != nil && (r.Code == wire.CodeMethodNotFound || r.Code == wire.CodeInvalidParams):
		return http.StatusOK
	case r.Code == wire.CodeMethodNotFound:
		return http.StatusNotFound
	}
	return http.StatusBadRequest
}

func challenge(r *Rejection) *Challenge {
	switch {
	case r.Outcome == AuthFailed && r.Description == "":
		return &Challenge{}
	case r.Outcome == AuthFailed:
		return &Challenge{Error: "invalid_token", Description: r.Description}
	case r.Code == CodeScope:
		return &Challenge{Error: "insufficient_scope", Scope: r.Need}
	}
	return nil
}

// id returns the request's id as it was sent, or null. An id that holds the
// credential is not sent back.
func (c *Call) id() []byte {
	var id []byte
	switch {
	case c.Msg == nil:
		id = wire.FindID(c.head)
	case c.Msg.ID != wire.Absent:
		id = c.Msg.Value(c.Msg.ID)
	}
	if id == nil || c.carries(string(id)) || c.Msg != nil && c.carries(c.Msg.Text(c.Msg.ID)) {
		return []byte("null")
	}
	return id
}

func errorBody(c *Call, r *Rejection) []byte {
	public := r.Public
	if r.Outcome == Unavailable || r.Outcome == UpstreamFailed || r.Outcome == Failed {
		public += " (audit " + c.ID + ")"
	}
	b := append([]byte(`{"jsonrpc":"2.0","id":`), c.id()...)
	b = append(b, `,"error":{"code":`...)
	b = strconv.AppendInt(b, int64(r.Code), 10)
	b = wire.Quote(append(b, `,"message":`...), public)
	b = append(b, `,"data":{`...)
	if r.Data != "" {
		b = append(append(b, r.Data...), ',')
	}
	b = wire.Quote(append(b, `"outcome":`...), r.Outcome.String())
	b = wire.Quote(append(b, `,"reason":`...), r.Reason)
	if len(r.Need) > 0 {
		b = append(append(b, `,"required":`...), stringArray(r.Need)...)
	}
	b = wire.Quote(append(b, `,"audit_id":`...), c.ID)
	return append(b, `}}}`...)
}

func toolRefusal(c *Call, r *Rejection) []byte {
	b := append([]byte(`{"jsonrpc":"2.0","id":`), c.id()...)
	b = append(b, `,"result":{`...)
	if c.Era == Modern {
		b = append(b, `"resultType":"complete",`...)
	}
	b = wire.Quote(append(b, `"isError":true,"content":[{"type":"text","text":`...), r.Public)
	b = wire.Quote(append(b, `}],"_meta":{"mcp-sidecar/outcome":`...), r.Outcome.String())
	if r.Guard != "" {
		b = wire.Quote(append(b, `,"mcp-sidecar/guard":`...), r.Guard)
		b = wire.Quote(append(b, `,"mcp-sidecar/rule":`...), r.Rule)
	}
	b = wire.Quote(append(b, `,"mcp-sidecar/audit_id":`...), c.ID)
	return append(b, `}}}`...)
}
