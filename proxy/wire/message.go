package wire

import (
	"bytes"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// Kind is the JSON-RPC kind of a message.
type Kind uint8

// Kinds. The zero value is no message at all.
const (
	None Kind = iota
	Request
	Notification
	Response
)

func (k Kind) String() string {
	return [...]string{"none", "request", "notification", "response"}[k]
}

// Node is one indexed JSON value. Nodes stand in document order, so the values
// inside a container follow it and end before Next.
//
// Scalars other than strings are indexed only as object members: an array of a
// million numbers costs nothing.
type Node struct {
	Start, End         int32         // the value's bytes in Raw
	NameStart, NameEnd int32         // the member name's bytes, quotes included; 0, 0 outside objects
	Next               int32         // index of the first node behind this value
	Kind               jsontext.Kind // '{' '[' '"' '0' 't' 'f' 'n'
	Sparse             bool          // an array that also holds values without a node
}

// Absent is the index of a member that is not there.
const Absent = -1

// Message is one JSON-RPC message: its bytes and the index of what is in them.
// Neither may be changed after Scan. A message belongs to one goroutine at a time.
type Message struct {
	Raw    []byte
	Nodes  []Node // Nodes[0] is the message itself
	Kind   Kind
	Method string
	ID     int // node of the id, or Absent
	Params int
	Result int
	Err    int

	decoded []decoded
}

// decoded remembers a string that had to be unescaped: guards read it more than
// once.
type decoded struct {
	node int
	text string
}

// maxDecoded bounds what is remembered of one message.
const maxDecoded = 16

// envelope finds the JSON-RPC members and decides the message's kind.
// Exact-case look-up alone is not enough: a decoder that folds case (such as
// encoding/json) would see "ID" or "Method" as well (CVE-2026-27896).
func (m *Message) envelope() *Error {
	if m.Nodes[0].Kind == '[' {
		return &Error{CodeInvalidRequest, "batches are not accepted; send one message"}
	}
	if m.Nodes[0].Kind != '{' {
		return &Error{CodeInvalidRequest, "not a JSON object"}
	}
	version, method := Absent, Absent
	for i := range m.Children(0) {
		var at *int
		switch name := m.Name(i); name {
		case "jsonrpc":
			at = &version
		case "id":
			at = &m.ID
		case "method":
			at = &method
		case "params":
			at = &m.Params
		case "result":
			at = &m.Result
		case "error":
			at = &m.Err
		default:
			if FoldsTo(name, "jsonrpc", "id", "method", "params", "result", "error") {
				return &Error{CodeInvalidRequest, "an envelope member is spelled with the wrong case"}
			}
			continue
		}
		*at = i
	}
	if version == Absent || m.Text(version) != "2.0" {
		return &Error{CodeInvalidRequest, `"jsonrpc" is not "2.0"`}
	}
	return m.classify(method)
}

func (m *Message) classify(method int) *Error {
	if m.ID != Absent && m.Nodes[m.ID].Kind != '"' && m.Nodes[m.ID].Kind != '0' &&
		(m.Nodes[m.ID].Kind != 'n' || m.Err == Absent) {
		return &Error{CodeInvalidRequest, "the id is neither a string nor a number"}
	}
	if method == Absent {
		// An error may come without an id: its sender could not read the request's.
		if (m.ID == Absent && m.Err == Absent) || (m.Result == Absent) == (m.Err == Absent) || m.Params != Absent {
			return &Error{CodeInvalidRequest, "neither a request nor a response"}
		}
		m.Kind = Response
		return nil
	}
	if m.Result != Absent || m.Err != Absent {
		return &Error{CodeInvalidRequest, "a request with a result"}
	}
	if m.Nodes[method].Kind != '"' || m.Text(method) == "" {
		return &Error{CodeInvalidRequest, "the method is not a name"}
	}
	if m.Params != Absent && m.Nodes[m.Params].Kind != '{' {
		return &Error{CodeInvalidRequest, "params is not an object"}
	}
	m.Method = m.Text(method)
	m.Kind = Request
	if m.ID == Absent {
		m.Kind = Notification
	}
	return nil
}

// Children yields the indexes of the values directly inside container i.
func (m *Message) Children(i int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for c := i + 1; c < int(m.Nodes[i].Next); c = int(m.Nodes[c].Next) {
			if !yield(c) {
				return
			}
		}
	}
}

// ChildrenOf is like Children for an i that may be Absent or no container.
func (m *Message) ChildrenOf(i int) func(yield func(int) bool) {
	if i == Absent {
		return func(func(int) bool) {}
	}
	return m.Children(i)
}

// Member returns the value of object i's member name, or Absent. i may be
// Absent or no object.
func (m *Message) Member(i int, name string) int {
	if i == Absent || m.Nodes[i].Kind != '{' {
		return Absent
	}
	for c := range m.Children(i) {
		if m.Name(c) == name {
			return c
		}
	}
	return Absent
}

// At follows member names from object i and returns where they lead, or Absent.
func (m *Message) At(i int, names ...string) int {
	for _, n := range names {
		i = m.Member(i, n)
	}
	return i
}

// Value returns the bytes of value i as they came; nil when Absent.
func (m *Message) Value(i int) []byte {
	if i == Absent {
		return nil
	}
	return m.Raw[m.Nodes[i].Start:m.Nodes[i].End]
}

// Name returns the decoded name of member i, empty outside objects. It shares
// memory with Raw when the name holds no escape.
func (m *Message) Name(i int) string {
	return unquote(m.Raw[m.Nodes[i].NameStart:m.Nodes[i].NameEnd])
}

// Text returns the decoded string at i, or "" when i is Absent or no string. It
// shares memory with Raw when the string holds no escape.
func (m *Message) Text(i int) string {
	if i == Absent || m.Nodes[i].Kind != '"' {
		return ""
	}
	quoted := m.Value(i)
	if bytes.IndexByte(quoted, '\\') < 0 {
		return unquote(quoted)
	}
	for _, d := range m.decoded {
		if d.node == i {
			return d.text
		}
	}
	text := unquote(quoted)
	if len(m.decoded) < maxDecoded {
		m.decoded = append(m.decoded, decoded{i, text})
	}
	return text
}

// Forget lets go of the strings that Text has decoded, which may be as large as the
// message itself.
func (m *Message) Forget() { m.decoded = nil }

// IsTrue says whether the value at i is the literal true.
func (m *Message) IsTrue(i int) bool { return i != Absent && m.Nodes[i].Kind == 't' }

func unquote(quoted []byte) string {
	if len(quoted) < 2 {
		return ""
	}
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') >= 0 {
		if plain, ok := unescape(inner); ok {
			return plain
		}
		// Scan has accepted these bytes, so they decode.
		plain, _ := jsontext.AppendUnquote(make([]byte, 0, len(inner)), quoted)
		return shared(plain)
	}
	// Raw is immutable after Scan, so the string may share its memory: results
	// of megabytes are inspected without a copy.
	return shared(inner)
}

// shared returns b as a string that uses b's memory. Nobody may change b.
func shared(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // the bytes never change, see the callers
}

// simple maps the letter of a two-character escape to what it stands for.
var simple = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape decodes a string that holds two-character escapes only, stretch by
// stretch. It is not ok when there is a \u in it.
func unescape(inner []byte) (plain string, ok bool) {
	var b strings.Builder
	b.Grow(len(inner))
	for {
		i := bytes.IndexByte(inner, '\\')
		if i < 0 {
			b.Write(inner)
			return b.String(), true
		}
		c := simple[inner[i+1]]
		if c == 0 {
			return "", false
		}
		b.Write(inner[:i])
		b.WriteByte(c)
		inner = inner[i+2:]
	}
}

// Quote appends s as a JSON string to dst. s must be valid UTF-8.
func Quote(dst []byte, s string) []byte {
	dst, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		// Only invalid UTF-8 fails; replacing it is what every encoder does.
		dst, _ = jsontext.AppendQuote(dst, strings.ToValidUTF8(s, string(utf8.RuneError)))
	}
	return dst
}

// FoldsTo says whether name equals one of wants under Unicode case folding
// without being it.
func FoldsTo(name string, wants ...string) bool {
	for _, w := range wants {
		if name != w && strings.EqualFold(name, w) {
			return true
		}
	}
	return false
}

// FindID looks for the id of a message of which only a beginning is at hand, so
// that an early refusal can name the request it answers. It returns "null" when
// the id is not to be found there.
func FindID(head []byte) []byte {
	dec := jsontext.NewDecoder(bytes.NewReader(head))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return []byte("null")
	}
	for {
		name, err := dec.ReadToken()
		if err != nil || name.Kind() != '"' {
			return []byte("null")
		}
		if name.String() != "id" {
			if dec.SkipValue() != nil {
				return []byte("null")
			}
			continue
		}
		v, err := dec.ReadValue()
		number := v.Kind() == '0' && int(dec.InputOffset()) < len(head) // else its end may have been cut off
		if err != nil || !number && v.Kind() != '"' {
			return []byte("null")
		}
		return bytes.Clone(v)
	}
}
