package wire

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// Outline is what the outermost members of a message say. A stream of messages is
// put in order by it before each is scanned; nothing is decided by it.
type Outline struct {
	Kind   Kind   // None: no acceptable message
	ID     []byte // of a request, as it stands in the message; nil otherwise
	Method string
	// Cancels is the id of the request that a notifications/cancelled names, as it
	// stands in the message; nil otherwise.
	Cancels []byte
}

const cancelled = "notifications/cancelled"

// Outlined reads the outline of raw, whose memory it shares.
func Outlined(raw []byte) Outline {
	id, method, params, ok := outermost(raw)
	o := Outline{}
	switch {
	case !ok:
		return o
	case method == nil:
		o.Kind = Response
		return o
	case method.Kind() != '"' || id != nil && !isID(id):
		return o
	}
	o.Kind, o.ID, o.Method = Notification, id, unquote(method)
	if id != nil {
		o.Kind = Request
		return o
	}
	if o.Method == cancelled {
		o.Cancels = member(params, "requestId")
	}
	return o
}

// IDKey is the same for every way to write one id.
func IDKey(id []byte) string {
	if len(id) == 0 || id[0] != '"' {
		return string(id)
	}
	return `"` + unquote(id)
}

func isID(v jsontext.Value) bool { return v.Kind() == '"' || v.Kind() == '0' }

// outermost finds members of the object raw; those that are missing are nil.
func outermost(raw []byte) (id, method, params jsontext.Value, ok bool) {
	ok = eachMember(raw, func(name string, v jsontext.Value) {
		switch name {
		case "id":
			id = v
		case "method":
			method = v
		case "params":
			params = v
		}
	})
	return id, method, params, ok
}

// member is the value of an object's member, when it can be an id.
func member(raw []byte, want string) []byte {
	var found []byte
	eachMember(raw, func(name string, v jsontext.Value) {
		if name == want && isID(v) {
			found = v
		}
	})
	return found
}

// eachMember yields the members of the object raw and says whether raw is one.
func eachMember(raw []byte, yield func(name string, v jsontext.Value)) bool {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return false
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return false
		}
		text := name.String()
		v, err := dec.ReadValue()
		if err != nil {
			return false
		}
		end := int(dec.InputOffset()) // the decoder's own memory is not ours to keep
		yield(text, raw[end-len(v):end])
	}
	return true
}
