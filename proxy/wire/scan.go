package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Scan reads raw as exactly one JSON-RPC message and indexes it. It refuses what
// two parsers could read differently: duplicate member names (after unescaping),
// case variants of the envelope's names, NUL in names, invalid UTF-8, a byte
// order mark, anything behind the value. Errors are of type *Error.
//
// raw must not be changed afterwards.
func Scan(raw []byte, lim Limits) (*Message, error) {
	if len(raw) > math.MaxInt32 {
		return nil, &Error{CodeInvalidRequest, "too large"} // offsets are 32 bits wide
	}
	m := &Message{Raw: raw, ID: Absent, Params: Absent, Result: Absent, Err: Absent}
	s := scanner{dec: decoders.Get().(*jsontext.Decoder), size: len(raw), lim: lim.orDefault()}
	defer s.free()
	s.dec.Reset(bytes.NewBuffer(raw))
	// One node per 24 bytes is what small messages hold; large ones are mostly text.
	s.nodes = make([]Node, 0, min(len(raw)/24+8, 32))
	if err := s.value(Node{}, Absent); err != nil {
		return nil, err
	}
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, &Error{CodeParse, "more than one JSON value"}
	}
	m.Nodes = s.nodes
	if err := m.envelope(); err != nil {
		return nil, err
	}
	return m, nil
}

func (l Limits) orDefault() Limits {
	if l.Depth == 0 {
		l.Depth = DefaultLimits.Depth
	}
	if l.Keys == 0 {
		l.Keys = DefaultLimits.Keys
	}
	if l.Values == 0 {
		l.Values = DefaultLimits.Values
	}
	return l
}

// decoders are kept from message to message: making one costs more memory than a
// small message has.
var decoders = sync.Pool{New: func() any { return jsontext.NewDecoder(new(bytes.Buffer)) }}

type scanner struct {
	dec   *jsontext.Decoder
	size  int // of the message, in bytes
	lim   Limits
	nodes []Node
	keys  int
	depth int
}

// free gives the decoder back, without what it has read.
func (s *scanner) free() {
	s.dec.Reset(new(bytes.Buffer))
	decoders.Put(s.dec)
}

// value reads the next value, which stands in container parent; n arrives with
// the member name's span, if any.
func (s *scanner) value(n Node, parent int) error {
	switch k := s.dec.PeekKind(); k {
	case '{', '[':
		return s.container(n, k)
	default:
		v, err := s.dec.ReadValue()
		if err != nil {
			return syntaxError(err)
		}
		if k != '"' && n.NameEnd == 0 && parent != Absent {
			s.nodes[parent].Sparse = true
			return nil
		}
		n.Kind = k
		n.End = int32(s.dec.InputOffset())
		n.Start = n.End - int32(len(v))
		_, err = s.add(n)
		return err
	}
}

func (s *scanner) add(n Node) (int, error) {
	if len(s.nodes) >= s.lim.Values {
		return 0, &Error{CodeInvalidRequest, "too many values"}
	}
	if len(s.nodes) == cap(s.nodes) {
		s.grow()
	}
	n.Next = int32(len(s.nodes) + 1)
	s.nodes = append(s.nodes, n)
	return len(s.nodes) - 1, nil
}

// grow makes room for as many nodes as the message will have if it goes on as it
// began, but for no more than four times those it has: it may end in one long text.
func (s *scanner) grow() {
	n, read := len(s.nodes), max(1, int(s.dec.InputOffset()))
	rest := n*(s.size-read)/read + n/8 + 8
	s.nodes = slices.Grow(s.nodes, min(rest, 3*n, s.lim.Values-n))
}

func (s *scanner) container(n Node, open jsontext.Kind) error {
	if s.depth++; s.depth > s.lim.Depth {
		return &Error{CodeInvalidRequest, "nested too deeply"}
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return syntaxError(err)
	}
	n.Kind, n.Start = open, int32(s.dec.InputOffset()-1)
	at, err := s.add(n)
	if err != nil {
		return err
	}
	closing := jsontext.Kind('}')
	if open == '[' {
		closing = ']'
	}
	for next := s.dec.PeekKind(); next != closing; next = s.dec.PeekKind() {
		if open == '{' && next != '"' {
			return syntaxError(io.ErrUnexpectedEOF) // no name: a decoder that reads on is none of ours
		}
		var child Node
		if open == '{' {
			if child, err = s.name(); err != nil {
				return err
			}
		}
		if err := s.value(child, at); err != nil {
			return err
		}
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return syntaxError(err)
	}
	s.nodes[at].End = int32(s.dec.InputOffset())
	s.nodes[at].Next = int32(len(s.nodes))
	s.depth--
	return nil
}

func (s *scanner) name() (Node, error) {
	v, err := s.dec.ReadValue()
	if err != nil {
		return Node{}, syntaxError(err)
	}
	if s.keys++; s.keys > s.lim.Keys {
		return Node{}, &Error{CodeInvalidRequest, "too many object members"}
	}
	// A name with an embedded NUL is cut short by some decoders and so read as
	// another name (GHSA-q382-vc8q-7jhj).
	if bytes.Contains(v, []byte(`\u0000`)) && strings.IndexByte(unquote(v), 0) >= 0 {
		return Node{}, &Error{CodeInvalidRequest, "NUL in an object member name"}
	}
	end := int32(s.dec.InputOffset())
	return Node{NameStart: end - int32(len(v)), NameEnd: end}, nil
}

func syntaxError(err error) *Error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return &Error{CodeInvalidRequest, "duplicate object member name"}
	}
	return &Error{CodeParse, "not valid JSON in UTF-8"}
}
