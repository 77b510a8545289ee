package backend

import (
	"bytes"
	"math"
	"regexp"
	"strconv"

	"mcp-sidecar/proxy/wire"
)

// Names below _meta.
const (
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
	metaLogLevel     = "io.modelcontextprotocol/logLevel"
)

// stateless is the first protocol revision without initialize and sessions.
// Revisions are dates, so they order as text.
const stateless = "2026-07-28"

// Limits of the scans here. The pipeline's own, which may be narrower, decide; what
// a client sends has passed them, what a child sends meets them next.
var (
	fromClient = wire.Limits{Depth: 1000, Keys: 1 << 20, Values: 1 << 22}
	fromChild  = wire.Limits{Depth: 1000, Keys: wire.DefaultLimits.Values}
)

// line returns m with patches, as the child reads it: one line.
func line(m *wire.Message, patches []wire.Patch) ([]byte, error) {
	end := len(m.Raw)
	b, err := wire.Splice(m.Raw, append(patches, wire.Patch{Start: end, End: end, New: []byte{'\n'}}))
	if err != nil {
		return nil, err
	}
	// Within JSON a line break can only be white space between two tokens.
	oneLine(b[:len(b)-1])
	return b, nil
}

// oneLine replaces line breaks between tokens, in place.
func oneLine(b []byte) {
	for _, c := range []byte("\n\r") {
		for rest := b; ; {
			i := bytes.IndexByte(rest, c)
			if i < 0 {
				break
			}
			rest[i] = ' '
			rest = rest[i+1:]
		}
	}
}

// integer reads the number at i, however it is written: 7, 7.0, 7e0.
func integer(m *wire.Message, i int) (int64, bool) {
	if i == wire.Absent || m.Nodes[i].Kind != '0' {
		return 0, false
	}
	return parseInteger(string(m.Value(i)))
}

func parseInteger(s string) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// scalar is a key for the id or token at i: the same for every spelling of one
// value, and different for a string and a number. Empty when it is neither.
func scalar(m *wire.Message, i int) string {
	if i == wire.Absent {
		return ""
	}
	switch m.Nodes[i].Kind {
	case '"':
		return "s" + m.Text(i)
	case '0':
		if n, ok := integer(m, i); ok {
			return "n" + strconv.FormatInt(n, 10)
		}
		return "n" + string(m.Value(i))
	}
	return ""
}

func number(n int64) []byte { return strconv.AppendInt(nil, n, 10) }

// idAtEnd finds the id of a response that writes it behind its result. Whatever
// stands in front of the last brace, outside of a string, is a member of the
// message itself; inside a string the quotes would be escaped.
var idAtEnd = regexp.MustCompile(`,[ \t]*"id"[ \t]*:[ \t]*([0-9]+)[ \t]*(?:,[ \t]*"jsonrpc"[ \t]*:[ \t]*"2\.0"[ \t]*)?\}[ \t\r]*$`)

// idFrom looks for the id of a message that could not be read as a whole.
func idFrom(head, tail []byte) (int64, bool) {
	const enough = 64 << 10 // an id stands in front, or behind everything
	if n, ok := parseInteger(string(wire.FindID(head[:min(len(head), enough)]))); ok {
		return n, true
	}
	if found := idAtEnd.FindSubmatch(tail[max(0, len(tail)-enough):]); found != nil {
		return parseInteger(string(found[1]))
	}
	return 0, false
}

// restore makes m, which answers e, the client's again.
func (e *exchange) restore(m *wire.Message) ([]byte, error) {
	patches := []wire.Patch{m.Replace(m.ID, e.rawID)}
	if e.listen {
		patches = append(patches, e.subscription(m, m.Result)...)
	}
	return wire.Splice(m.Raw, patches)
}

// subscription puts the client's own id where m names the subscription, below
// container at.
func (e *exchange) subscription(m *wire.Message, at int) []wire.Patch {
	if i := m.At(at, "_meta", metaSubscription); i != wire.Absent {
		return []wire.Patch{m.Replace(i, e.rawID)}
	}
	return nil
}

// httpStatus is the status that the answer would have over HTTP (MCP 2026-07-28,
// basic/transports/streamable-http, "Sending Messages to the Server"). Older
// revisions answer 200.
func (e *exchange) httpStatus(m *wire.Message) int {
	if !e.modern || m.Err == wire.Absent {
		return 200
	}
	switch code, _ := integer(m, m.Member(m.Err, "code")); code {
	case wire.CodeMethodNotFound:
		return 404
	case wire.CodeInvalidParams, wire.CodeHeaderMismatch, wire.CodeUnsupported, codeCapability, wire.CodeInvalidRequest, wire.CodeParse:
		return 400
	}
	return 200
}

// codeCapability: the client lacks what the request needs (MCP 2026-07-28,
// basic/index, "Error Codes").
const codeCapability = -32021

// reply is a response of the sidecar's own to a request of the child's.
func reply(id []byte, member string) []byte {
	return append(append(append([]byte(`{"jsonrpc":"2.0","id":`), bytes.Clone(id)...), ','), member+"}\n"...)
}

// What the sidecar itself answers to a child.
const (
	emptyResult  = `"result":{}`
	notFound     = `"error":{"code":-32601,"message":"Method not found"}`
	notDelivered = `"error":{"code":-32603,"message":"no client took the request"}`
)

// cancelled tells the child that nobody waits for its request id any more.
func cancelled(id int64) []byte {
	return append(strconv.AppendInt([]byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":`), id, 10), "}}\n"...)
}
