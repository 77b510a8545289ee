package pipeline

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"

	"mcp-sidecar/proxy/wire"
)

// headSize is how much of a body is read before its sender is verified.
const headSize = 64 << 10

// reservedID is the id of the sidecar's own requests inside a client's session.
const reservedID = `"mcp-sidecar/inventory"`

// Keys of params._meta (MCP 2026-07-28, basic/index, "_meta").
const metaVersion = "io.modelcontextprotocol/protocolVersion"

// receive asks whether this is a well-formed message that we know. It reads the
// body, scans it once, and checks that the headers say what the body says:
// every later decision rests on the body alone.
func (p *Pipeline) receive(ctx context.Context, c *Call) error {
	if c.Refused != nil {
		c.head, _ = io.ReadAll(io.LimitReader(c.bodyReader(), headSize))
		return c.Refused
	}
	if c.Dir == FromUpstream {
		return p.classify(c) // its bytes were scanned as they came off the stream
	}
	if c.Verb != wire.Send {
		return c.checkVerb()
	}
	raw, err := p.read(ctx, c)
	if err != nil {
		return err
	}
	if c.Msg, err = wire.Scan(raw, p.opts.Limits.Message); err != nil {
		return malformedError(err)
	}
	c.request, c.Method = raw, c.Msg.Method
	p.findCarriers(c)
	if c.Msg.Kind == wire.Response {
		c.method = response
		if c.Head.Version.Value == revisionModern {
			return unasked() // 2026-07-28 has no requests that a client could answer
		}
		return c.legacyVersion()
	}
	if err := c.agreeVersion(); err != nil {
		return err
	}
	c.method = p.lookup(c.Dir, c.Msg.Kind, c.Method, c.Era)
	if err := c.agreeHeaders(); err != nil {
		return err
	}
	err = p.classify(c)
	if err != nil && c.Msg.Kind == wire.Notification {
		// Whoever may speak at all has a notification that is not admitted dropped
		// in silence: an error without an id would answer nothing. Strangers learn
		// that they are strangers.
		if refusal := p.verify(ctx, c); refusal != nil {
			c.Stage = "authenticate"
			return refusal
		}
	}
	return err
}

// checkVerb looks at what comes without a message: the end of a session, or the
// request for its stream. 2026-07-28 has neither (basic/transports/
// streamable-http, "Backward Compatibility").
func (c *Call) checkVerb() error {
	switch {
	case c.Head.Version.Value == revisionModern, c.Verb == wire.Watch && c.Head.Session == "":
		return notAllowed()
	case c.Head.Session == "":
		return malformed(wire.CodeInvalidRequest, "session", "no session is named")
	}
	return c.legacyVersion()
}

// notAllowed tells clients that there is no such stream or session, which they
// take for an answer and not for a failure.
func notAllowed() *Rejection {
	return &Rejection{Outcome: ProtocolRejected, Code: CodeMethod, Reason: "http-method", Public: "this HTTP method is not served here", Status: 405, Allow: "POST, DELETE"}
}

// isVisible says whether s can stand in a header as it is.
func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// legacyVersion checks the one header that says in which revision a message
// without metadata is meant.
func (c *Call) legacyVersion() error {
	header := c.Head.Version
	switch {
	case header.Several:
		return mismatch("header mismatch: MCP-Protocol-Version is sent more than once")
	case header.Present && !slices.Contains(legacyRevisions, header.Value):
		return unsupported(header.Value)
	}
	c.Version = header.Value
	return nil
}

func (c *Call) bodyReader() io.Reader {
	if c.Body.Reader == nil {
		return bytes.NewReader(nil)
	}
	return c.Body.Reader
}

// read takes the body in. What exceeds 64 KiB is read only for a sender whose
// token holds: strangers cannot make us buffer.
func (p *Pipeline) read(ctx context.Context, c *Call) ([]byte, error) {
	limit := p.opts.Limits.RequestBody
	trusting := limit // a line of a pipe is in memory already, and its token may stand at its end
	if c.Transport != Stdio {
		trusting = min(headSize, limit)
	}
	tooLarge := &Rejection{Outcome: Limited, Code: CodeSize, Reason: "body-size", Public: "request body exceeds the size limit", Status: 413}
	if c.Body.Size >= 0 && c.Body.Size <= headSize && c.Body.Size <= limit {
		raw := make([]byte, c.Body.Size)
		n, err := io.ReadFull(c.bodyReader(), raw)
		if c.head, c.bytesIn = raw[:n], n; err != nil {
			return nil, cutShort(err)
		}
		return raw, nil
	}
	raw, err := wire.ReadAll(io.LimitReader(c.bodyReader(), trusting+1), int(trusting+1))
	c.head, c.bytesIn = raw[:min(len(raw), headSize)], len(raw)
	switch {
	case err != nil:
		return nil, cutShort(err)
	case int64(len(raw)) > limit || c.Body.Size > limit:
		return nil, tooLarge
	case int64(len(raw)) <= trusting:
		return raw, nil
	}
	if err := p.verify(ctx, c); err != nil {
		c.Stage = "authenticate"
		return nil, err
	}
	raw, err = c.readRest(raw, limit)
	c.bytesIn = len(raw)
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return nil, tooLarge
	case err != nil:
		return nil, cutShort(err)
	}
	c.head = raw[:headSize]
	return raw, nil
}

// readRest reads on behind what has been read, into memory of the right size at
// once where the sender has said how much will come.
func (c *Call) readRest(raw []byte, limit int64) ([]byte, error) {
	if n := c.Body.Size; n >= int64(len(raw)) {
		whole := make([]byte, n)
		k, err := io.ReadFull(c.bodyReader(), whole[copy(whole, raw):])
		return whole[:len(raw)+k], err
	}
	return wire.ReadAll(io.MultiReader(bytes.NewReader(raw), c.bodyReader()), int(limit))
}

func cutShort(err error) *Rejection {
	r := malformed(wire.CodeParse, "body-cut", "the request body is cut short")
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		r.Cause = err
	}
	return r
}

// agreeVersion decides the era. A request that carries the revision in its
// metadata, or in its header, is modern; the two must agree.
func (c *Call) agreeVersion() error {
	meta := c.Msg.At(c.Msg.Params, "_meta", metaVersion)
	header := c.Head.Version
	if c.Transport == Stdio && meta != wire.Absent {
		header = Header{Value: c.Msg.Text(meta), Present: true}
	}
	if header.Several {
		return mismatch("header mismatch: MCP-Protocol-Version is sent more than once")
	}
	if meta == wire.Absent && (!header.Present || slices.Contains(legacyRevisions, header.Value)) {
		c.Era, c.Version = Legacy, header.Value
		return nil
	}
	c.Era, c.Version = Modern, header.Value
	switch said := c.Msg.Text(meta); {
	case !header.Present:
		return mismatch("header mismatch: MCP-Protocol-Version is missing")
	case meta != wire.Absent && said != header.Value:
		return mismatch("header mismatch: MCP-Protocol-Version does not match the request's _meta")
	case header.Value != revisionModern:
		c.Era, c.Version = eraOf(header.Value), ""
		return unsupported(header.Value)
	case meta == wire.Absent && c.Msg.Kind == wire.Request:
		return malformed(wire.CodeInvalidParams, "meta", `params._meta lacks "`+metaVersion+`"`)
	}
	return nil
}

// eraOf guesses the era of a revision we do not serve, for the status of the
// refusal. Revisions are dates, so they order as text.
func eraOf(revision string) Era {
	if revision > legacyRevisions[0] {
		return Modern
	}
	return Legacy
}

func unsupported(requested string) *Rejection {
	r := malformed(wire.CodeUnsupported, "version", "unsupported protocol version")
	r.Status = 400
	r.Data = `"supported":["` + strings.Join(revisions, `","`) + `"]`
	if isRevision(requested) {
		r.Data += `,"requested":"` + requested + `"`
	}
	return r
}

// isRevision says whether s looks like a version of something, so that nothing
// else is echoed: a credential is longer or has letters.
func isRevision(s string) bool {
	return s != "" && len(s) <= 12 && strings.Trim(strings.TrimPrefix(s, "v"), "0123456789.-") == ""
}

// agreeHeaders compares the mirrored headers with the body (MCP 2026-07-28,
// basic/transports/streamable-http, "Server Validation"). Somebody in front may
// have decided by them. Older revisions do not define them; there they are
// ignored and not passed on.
func (c *Call) agreeHeaders() error {
	if c.Era != Modern || c.Transport == Stdio {
		return nil
	}
	if err := agree("Mcp-Method", c.Head.Method, c.Method, c.Msg.Kind == wire.Request); err != nil {
		return err
	}
	if c.method == nil || !c.method.named {
		return nil
	}
	required := c.method.kind != aTask // which the extension, not the revision, names
	return agree("Mcp-Name", c.Head.Name, c.Msg.Text(c.Msg.Member(c.Msg.Params, c.method.target)), required)
}

func agree(name string, h Header, body string, required bool) error {
	switch {
	case h.Several:
		return mismatch("header mismatch: " + name + " is sent more than once")
	case !h.Present && required:
		return mismatch("header mismatch: " + name + " is missing")
	case !h.Present:
		return nil
	}
	value, ok := decodeHeader(h.Value)
	if !ok || value != body {
		return mismatch("header mismatch: " + name + " does not match the body")
	}
	return nil
}

// decodeHeader undoes the Base64 sentinel form ("Value Encoding", same page).
func decodeHeader(v string) (string, bool) {
	inner, ok := strings.CutPrefix(v, "=?base64?")
	if !ok {
		return v, true
	}
	if inner, ok = strings.CutSuffix(inner, "?="); !ok {
		return v, true
	}
	b, err := base64.StdEncoding.Strict().DecodeString(inner)
	return string(b), err == nil
}

// classify finds the method's row and what the message acts on.
func (p *Pipeline) classify(c *Call) error {
	m := c.Msg
	if c.Dir == FromUpstream && m.Kind == wire.Response {
		c.method = redelivery
		return nil
	}
	c.method, c.Method = p.lookup(c.Dir, m.Kind, m.Method, c.Era), m.Method
	if c.method == nil {
		return malformed(wire.CodeMethodNotFound, "method", "method not found")
	}
	for i := range m.ChildrenOf(m.Params) {
		// An upstream that folds case would act on another thing than the one
		// that was authorized (CVE-2026-27896).
		if wire.FoldsTo(m.Name(i), "name", "arguments", "_meta", "uri", "ref", "taskId", "requestId", "notifications", "requestState", "inputResponses") {
			return malformed(wire.CodeInvalidRequest, "member-case", "a member of params is spelled with the wrong case")
		}
	}
	if c.Dir == FromClient && (isReserved(m, m.ID) || isReserved(m, m.Member(m.Params, "requestId"))) {
		return malformed(wire.CodeInvalidRequest, "reserved-id", "this request id is reserved")
	}
	switch {
	case c.method.opensSession:
		return c.checkInitialize()
	case c.method.kind == aMethod:
		c.targetKind, c.Target = aMethod, m.Method
	case c.method.target != "":
		if err := c.readTarget(); err != nil {
			return err
		}
	}
	if c.method.kind == aTool {
		return c.readArguments()
	}
	return nil
}

// isReserved says whether the id at i is that of the sidecar's own requests, which
// no client may use or cancel.
func isReserved(m *wire.Message, i int) bool {
	return i != wire.Absent && m.Text(i) == reservedID[1:len(reservedID)-1]
}

func (c *Call) checkInitialize() error {
	if c.Head.Session != "" {
		// Accepting a session id that the client chose would be session fixation.
		return malformed(wire.CodeInvalidRequest, "session", "initialize starts a session and cannot name one")
	}
	asked := c.Msg.Text(c.Msg.Member(c.Msg.Params, "protocolVersion"))
	switch {
	case asked == "":
		return malformed(wire.CodeInvalidParams, "params", "params.protocolVersion is missing")
	case asked < legacyRevisions[len(legacyRevisions)-1]:
		return unsupported(asked)
	}
	return nil // a newer one than we know: the upstream offers what it has
}

func (c *Call) readArguments() error {
	c.Args = c.Msg.Member(c.Msg.Params, "arguments")
	if c.Args != wire.Absent && c.Msg.Nodes[c.Args].Kind != '{' {
		return malformed(wire.CodeInvalidParams, "params", "params.arguments is not an object")
	}
	return nil
}
