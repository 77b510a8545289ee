package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Reasons for which a message may be refused. There is no other.
const (
	badSyntax    = "syntax"    // a decoder refuses it, or its text is no Unicode: invalid UTF-8, half a surrogate pair
	badDuplicate = "duplicate" // two members of one object have one name, once unescaped
	badNUL       = "NUL"       // in a member's name
	badDepth     = "depth"
	badKeys      = "keys"
	badValues    = "values"
	badShape     = "shape"    // no object
	badCase      = "case"     // an envelope member's name in another case
	badEnvelope  = "envelope" // a rule of JSON-RPC
)

// reasonOf files what Scan says under the reasons. A text that is not in it is a
// reason that nobody has named.
var reasonOf = map[string]string{
	"not valid JSON in UTF-8":                           badSyntax,
	"more than one JSON value":                          badSyntax,
	"too large":                                         "size",
	"duplicate object member name":                      badDuplicate,
	"NUL in an object member name":                      badNUL,
	"nested too deeply":                                 badDepth,
	"too many object members":                           badKeys,
	"too many values":                                   badValues,
	"batches are not accepted; send one message":        badShape,
	"not a JSON object":                                 badShape,
	"an envelope member is spelled with the wrong case": badCase,
	`"jsonrpc" is not "2.0"`:                            badEnvelope,
	"the id is neither a string nor a number":           badEnvelope,
	"neither a request nor a response":                  badEnvelope,
	"a request with a result":                           badEnvelope,
	"the method is not a name":                          badEnvelope,
	"params is not an object":                           badEnvelope,
}

// judge reads raw with encoding/json and lists every reason to refuse it. Of a
// text that breaks off it sees what stands before that. It shares no code with
// Scan.
func judge(raw []byte, lim Limits) map[string]bool {
	bad := map[string]bool{}
	if !json.Valid(raw) || !utf8.Valid(raw) || loneSurrogate(raw) {
		bad[badSyntax] = true
	}
	w := walker{bad: bad, lim: lim, dec: json.NewDecoder(bytes.NewReader(raw))}
	w.dec.UseNumber()
	w.walk()
	switch first := bytes.TrimLeft(raw, " \t\r\n"); {
	case len(first) == 0:
	case first[0] != '{':
		bad[badShape] = true
	case len(bad) == 0:
		judgeEnvelope(raw, bad)
	}
	return bad
}

// walker counts and compares what encoding/json reads token by token.
type walker struct {
	dec          *json.Decoder
	lim          Limits
	bad          map[string]bool
	keys, values int
	open         []level
}

type level struct {
	names map[string]bool // nil in an array
	value bool            // in an object: the next token is a value
}

func (w *walker) walk() {
	for {
		t, err := w.dec.Token()
		if err != nil {
			return // json.Valid has judged that
		}
		if d, ok := t.(json.Delim); ok && (d == '}' || d == ']') {
			w.open = w.open[:len(w.open)-1]
			if len(w.open) == 0 {
				return
			}
			continue
		}
		if !w.token(t) && len(w.open) == 0 {
			return // a scalar is all there is
		}
	}
}

// token says whether t opened a container.
func (w *walker) token(t json.Token) bool {
	var in *level
	if len(w.open) > 0 {
		in = &w.open[len(w.open)-1]
	}
	if in != nil && in.names != nil && !in.value {
		w.name(in, t.(string))
		in.value = true
		return false
	}
	member := in != nil && in.names != nil
	if member {
		in.value = false
	}
	d, container := t.(json.Delim)
	if _, text := t.(string); container || text || member || in == nil {
		w.values++
		w.note(w.values > w.lim.Values, badValues)
	}
	if container {
		l := level{}
		if d == '{' {
			l.names = map[string]bool{}
		}
		w.open = append(w.open, l)
		w.note(len(w.open) > w.lim.Depth, badDepth)
	}
	return container
}

func (w *walker) name(in *level, name string) {
	w.keys++
	w.note(w.keys > w.lim.Keys, badKeys)
	w.note(in.names[name], badDuplicate)
	w.note(strings.ContainsRune(name, 0), badNUL)
	if len(w.open) == 1 {
		for _, want := range []string{"jsonrpc", "id", "method", "params", "result", "error"} {
			w.note(name != want && strings.EqualFold(name, want), badCase)
		}
	}
	in.names[name] = true
}

func (w *walker) note(is bool, reason string) {
	if is {
		w.bad[reason] = true
	}
}

// judgeEnvelope applies JSON-RPC 2.0 as MCP narrows it.
func judgeEnvelope(raw []byte, bad map[string]bool) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil {
		bad[badEnvelope] = true
		return
	}
	has := func(name string) bool { return top[name] != nil }
	starts := func(name, set string) bool { return has(name) && strings.IndexByte(set, top[name][0]) >= 0 }
	text := func(name string) (s string) {
		if starts(name, `"`) {
			_ = json.Unmarshal(top[name], &s)
		}
		return s
	}
	good := text("jsonrpc") == "2.0" && (!has("id") || starts("id", `"-0123456789`) || starts("id", "n") && has("error"))
	if has("method") {
		good = good && text("method") != "" && !has("result") && !has("error") && (!has("params") || starts("params", "{"))
	} else {
		good = good && has("result") != has("error") && (has("id") || has("error")) && !has("params")
	}
	if !good {
		bad[badEnvelope] = true
	}
}

// loneSurrogate says whether raw holds a \u escape of half a surrogate pair: no
// character, and decoders differ in what they make of it.
func loneSurrogate(raw []byte) bool {
	unit := func(i int) (rune, bool) {
		if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
			return 0, false
		}
		var r rune
		for _, c := range raw[i+2 : i+6] {
			d := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
			if d < 0 {
				return 0, false
			}
			r = r<<4 | rune(d)
		}
		return r, true
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		switch r, ok := unit(i); {
		case !ok:
			i++
		case r >= 0xDC00 && r < 0xE000:
			return true
		case r >= 0xD800 && r < 0xDC00:
			if low, ok := unit(i + 6); !ok || low < 0xDC00 || low >= 0xE000 {
				return true
			}
			i += 11
		default:
			i += 5
		}
	}
	return false
}

// tree is a JSON value as a decoder sees it, reduced to what the index promises:
// an array's numbers and literals are only noted.
type tree struct {
	name   string // of the member; empty outside objects
	member bool
	kind   byte   // { [ " 0 t f n
	text   string // a string decoded; numbers and literals as they stand
	sparse bool
	kids   []tree
}

func (t *tree) adopt(kid tree) {
	if t.kind == '[' && strings.IndexByte(`{["`, kid.kind) < 0 {
		t.sparse = true
		return
	}
	t.kids = append(t.kids, kid)
}

// indexed is value i as m's index has it.
func indexed(m *Message, i int) tree {
	n := m.Nodes[i]
	t := tree{name: m.Name(i), member: n.NameEnd != 0, kind: byte(n.Kind), sparse: n.Sparse}
	switch t.kind {
	case '{', '[':
		for c := range m.Children(i) {
			t.kids = append(t.kids, indexed(m, c))
		}
	case '"':
		t.text = m.Text(i)
	default:
		t.text = string(m.Value(i))
	}
	return t
}

// strict is what jsontext reads: duplicates and invalid UTF-8 refused.
func strict(raw []byte) (tree, error) {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	t, err := strictValue(d, tree{})
	if err != nil {
		return t, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return t, errors.New("more than one value")
	}
	return t, nil
}

func strictValue(d *jsontext.Decoder, t tree) (tree, error) {
	tok, err := d.ReadToken()
	if err != nil {
		return t, err
	}
	if t.kind, t.text = byte(tok.Kind()), tok.String(); t.kind != '{' && t.kind != '[' {
		return t, nil
	}
	for t.text = ""; d.PeekKind() != '}' && d.PeekKind() != ']'; {
		kid := tree{}
		if t.kind == '{' {
			name, err := d.ReadToken()
			if err != nil {
				return t, err
			}
			kid.name, kid.member = name.String(), true
		}
		if kid, err = strictValue(d, kid); err != nil {
			return t, err
		}
		t.adopt(kid)
	}
	_, err = d.ReadToken()
	return t, err
}

// lenient is what encoding/json reads.
func lenient(raw []byte) (tree, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	t, err := lenientValue(d, tree{})
	if err == nil && !json.Valid(raw) {
		err = errors.New("not valid")
	}
	return t, err
}

func lenientValue(d *json.Decoder, t tree) (tree, error) {
	tok, err := d.Token()
	if err != nil {
		return t, err
	}
	switch v := tok.(type) {
	case json.Delim:
		t.kind = byte(v)
	case string:
		t.kind, t.text = '"', v
		return t, nil
	case json.Number:
		t.kind, t.text = '0', v.String()
		return t, nil
	case bool:
		t.kind, t.text = 'f', "false"
		if v {
			t.kind, t.text = 't', "true"
		}
		return t, nil
	default:
		t.kind, t.text = 'n', "null"
		return t, nil
	}
	for d.More() {
		kid := tree{}
		if t.kind == '{' {
			name, err := d.Token()
			if err != nil {
				return t, err
			}
			kid.name, kid.member = name.(string), true
		}
		if kid, err = lenientValue(d, kid); err != nil {
			return t, err
		}
		t.adopt(kid)
	}
	_, err = d.Token()
	return t, err
}
