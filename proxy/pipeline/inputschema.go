package pipeline

import (
	"bytes"
	"cmp"
	"errors"
	"strings"
	"sync"

	"mcp-sidecar/guards"
	"mcp-sidecar/proxy/wire"
)

// inputSchemaGuard is the name under which the check of arguments has its mode.
const inputSchemaGuard = "input_schema"

// inputSchema is a tool's published schema of its arguments. It is read when the first call
// needs it, and shared by all calls.
type inputSchema struct {
	raw  []byte
	once sync.Once
	flat *flatSchema // nil where only the whole can be judged
	test func(value []byte) (place string, fits bool, err error)
	err  error // why there is no test
}

// newInputSchema keeps a copy of raw; nil when there is none.
func newInputSchema(raw []byte) *inputSchema {
	if raw == nil {
		return nil
	}
	return &inputSchema{raw: bytes.Clone(raw)}
}

func (s *inputSchema) ready(compile Compile) error {
	s.once.Do(func() {
		s.err = errors.New("the schema was not compiled") // stands when compile panics
		if s.test, s.err = compile(s.raw); s.err == nil {
			s.flat = newFlatSchema(s.raw)
		}
	})
	return s.err
}

// fitsInput blocks a tool call whose arguments, as they are about to be sent, are not what the
// tool has published (MCP, server/tools, "Input Schema"): an upstream may rely on its schema
// and look no further. What the schema says nothing of passes; a schema that cannot be used is
// the operator's to know of, since a hostile upstream could have published none. edited says that
// the arguments are not those of the client's message any more.
func (p *Pipeline) fitsInput(c *Call, edited bool) error {
	s, mode := c.tool.input, p.modeOf(inputSchemaGuard, c)
	if s == nil || p.opts.Compile == nil || mode == guards.Off {
		return nil
	}
	if err := s.ready(p.opts.Compile); err != nil {
		p.inventories.at(p.serverOf(c)).warnOnce(c.bare+" inputSchema", func() {
			p.opts.Log.Warn("arguments of the tool are not held to its schema", "tool", c.bare, "why", err.Error())
		})
		return nil
	}
	m, args := c.Msg, c.Args
	if edited {
		var err error
		if m, err = wire.Scan(c.request, p.opts.Limits.Message); err != nil {
			return failed(err)
		}
		args = m.At(m.Params, "arguments")
	}
	rule, public := s.judge(m, args)
	switch {
	case rule == "":
		return nil
	case rule == ruleMismatch && p.except(inputSchemaGuard, c, c.rule).Has(rule):
		return nil
	case mode == guards.Observe:
		c.observed(inputSchemaGuard + ": " + rule)
		return nil
	}
	return blocked(inputSchemaGuard, rule, public)
}

// noArguments is what most servers make of none.
var noArguments = []byte("{}")

const (
	ruleMismatch = "mismatch"
	ruleBudget   = "guard-budget"
)

// judge says by which rule the arguments at node args do not fit, if they do not.
func (s *inputSchema) judge(m *wire.Message, args int) (rule, public string) {
	value := noArguments
	if args != wire.Absent && m.Nodes[args].Kind != 'n' {
		if s.flat != nil {
			if fits, judged := s.flat.fits(m, args); judged && fits {
				return "", ""
			}
		}
		value = m.Value(args)
	}
	place, fits, err := s.test(value)
	switch {
	case err != nil:
		return ruleBudget, "blocked: the arguments are too large to be held to the tool's input schema"
	case fits:
		return "", ""
	}
	if place == "root" && s.flat != nil { // says nothing of which member it is
		place = s.flat.objection(m, args)
	}
	if place != "" {
		place = " (" + place + ")"
	}
	return ruleMismatch, "blocked: the arguments do not match the tool's input schema" + place
}

// flatSchema is what can be judged of an object without decoding it: which members there must
// be, and of what type each is. Almost every tool has one.
type flatSchema struct {
	types    map[string]uint8 // by member: bits of kinds, or notFlat
	required []string
	open     bool // other members may be there
}

// Kinds of values, one bit each. notFlat says that more than the kind counts.
const (
	isString uint8 = 1 << iota
	isNumber
	isInteger // and no other number
	isBool
	isNull
	isObject
	isArray
	notFlat
)

var kindBits = map[string]uint8{
	"string": isString, "number": isNumber, "integer": isInteger, "boolean": isBool, "null": isNull, "object": isObject, "array": isArray,
}

// newFlatSchema reads raw, which is a schema that can be used; nil where it says more.
func newFlatSchema(raw []byte) *flatSchema {
	m, err := wire.Scan(append(append([]byte(`{"jsonrpc":"2.0","id":1,"result":`), raw...), '}'), wire.DefaultLimits)
	if err != nil || m.Nodes[m.Result].Kind != '{' {
		return nil
	}
	f := &flatSchema{types: map[string]uint8{}, open: true}
	object := false
	for i := range m.Children(m.Result) {
		switch name := m.Name(i); {
		case name == "type":
			object = m.Text(i) == "object"
		case name == "properties" && m.Nodes[i].Kind == '{':
			for p := range m.Children(i) {
				f.types[strings.Clone(m.Name(p))] = kindsOf(m, p)
			}
		case name == "required" && m.Nodes[i].Kind == '[' && !m.Nodes[i].Sparse:
			for r := range m.Children(i) {
				f.required = append(f.required, strings.Clone(m.Text(r)))
			}
		case name == "additionalProperties" && (m.Nodes[i].Kind == 't' || m.Nodes[i].Kind == 'f'):
			f.open = m.IsTrue(i)
		case isNote(name):
		default:
			return nil
		}
	}
	if !object {
		return nil
	}
	return f
}

// isNote says whether a keyword asserts nothing (JSON Schema 2020-12, validation section 9).
func isNote(name string) bool {
	switch name {
	case "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema", "format":
		return true
	}
	return strings.HasPrefix(name, "x-")
}

// kindsOf reads the schema of one member.
func kindsOf(m *wire.Message, i int) (bits uint8) {
	if m.Nodes[i].Kind != '{' {
		return notFlat
	}
	bits = isString | isNumber | isBool | isNull | isObject | isArray
	for k := range m.Children(i) {
		switch name := m.Name(k); {
		case name == "type" && m.Nodes[k].Kind == '"':
			bits = cmp.Or(kindBits[m.Text(k)], notFlat)
		case isNote(name):
		default:
			return notFlat
		}
	}
	return bits
}

// fits says whether the object at node args is what f describes. Where it is not, or cannot
// be told, the whole has to be judged.
func (f *flatSchema) fits(m *wire.Message, args int) (fits, judged bool) {
	if m.Nodes[args].Kind != '{' {
		return false, false
	}
	for _, name := range f.required {
		if m.Member(args, name) == wire.Absent {
			return false, false
		}
	}
	for i := range m.Children(args) {
		bits, named := f.types[m.Name(i)]
		switch {
		case !named && f.open:
		case !named, bits == notFlat, !f.has(m, i, bits):
			return false, false
		}
	}
	return true, true
}

// objection names the member of the object at node args that is missing, or that may not be
// there; nothing where its name is no plain word, since others chose it.
func (f *flatSchema) objection(m *wire.Message, args int) string {
	for _, name := range f.required {
		if args == wire.Absent || m.Member(args, name) == wire.Absent {
			return plainWord(name, " is required")
		}
	}
	for i := range m.ChildrenOf(args) {
		if _, named := f.types[m.Name(i)]; !named {
			return plainWord(m.Name(i), " is not among them")
		}
	}
	return ""
}

func plainWord(name, said string) string {
	const longest = 64
	if name == "" || len(name) > longest || strings.Trim(name, "_-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return ""
	}
	return name + said
}

func (f *flatSchema) has(m *wire.Message, i int, bits uint8) bool {
	switch m.Nodes[i].Kind {
	case '"':
		return bits&isString != 0
	case '0':
		if bits&isNumber != 0 {
			return true
		}
		return bits&isInteger != 0 && !bytes.ContainsAny(m.Value(i), ".eE")
	case 't', 'f':
		return bits&isBool != 0
	case 'n':
		return bits&isNull != 0
	case '{':
		return bits&isObject != 0
	case '[':
		return bits&isArray != 0
	}
	return false
}
