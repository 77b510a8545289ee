package pipeline

import (
	"fmt"
	"strconv"
	"strings"

	"mcp-sidecar/proxy/wire"
)

// asked is a request of the upstream's that waits for the client's answer.
type asked struct {
	id     string // as scalarKey writes it
	method string
	token  string // its progress token, as scalarKey writes it; empty without one
}

// maxOpen bounds the requests of the upstream that one session leaves unanswered.
const maxOpen = 100

// ask notes the upstream's request c. Its id must be free: the client's answer
// would otherwise belong to two requests.
func (s *Session) ask(c *Call) error {
	if s == nil {
		// Without a session nothing says to whom an answer belongs.
		return malformed(wire.CodeMethodNotFound, "no-session", "there is no session in which the client could answer")
	}
	a := &asked{id: scalarKey(c.Msg, c.Msg.ID), method: c.Method, token: scalarKey(c.Msg, c.Msg.At(c.Msg.Params, "_meta", "progressToken"))}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.asked[a.id] != nil:
		return malformed(wire.CodeInvalidRequest, "id-in-use", "this request id is in use")
	case len(s.asked) >= maxOpen:
		return &Rejection{Outcome: Limited, Code: CodeLimited, Reason: "asked", Public: "too many requests are waiting for the client"}
	}
	if s.asked == nil {
		s.asked = map[string]*asked{}
	}
	s.asked[a.id] = a
	return nil
}

// take returns the request that the scalar at node i of m names, and forgets it.
func (s *Session) take(m *wire.Message, i int) *asked {
	if s == nil || i == wire.Absent {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := scalarKey(m, i)
	a := s.asked[key]
	delete(s.asked, key)
	return a
}

// putBack notes a again: the answer to it could not be delivered.
func (s *Session) putBack(a *asked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[a.id] = a
}

// askedToken says whether the token at node i of m was given out by a request
// that waits for its answer.
func (s *Session) askedToken(m *wire.Message, i int) bool {
	if s == nil || i == wire.Absent {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := scalarKey(m, i)
	for _, a := range s.asked {
		if a.token == key {
			return true
		}
	}
	return false
}

// takeAsked finds the request that a client's response answers. There is one
// answer to a request, from the session that was asked.
func (p *Pipeline) takeAsked(c *Call) error {
	if c.pending = c.Session.take(c.Msg, c.Msg.ID); c.pending == nil {
		return unasked()
	}
	c.Method = c.pending.method
	return nil
}

func unasked() *Rejection {
	return malformed(wire.CodeInvalidRequest, "response", "no request of the server is waiting for this response")
}

// scalarKey writes a string or number so that equal values are equal keys, however
// they are spelled; empty when there is none.
func scalarKey(m *wire.Message, i int) string {
	switch {
	case i == wire.Absent:
		return ""
	case m.Nodes[i].Kind == '"':
		return strconv.Quote(m.Text(i))
	}
	if n, ok := safeInteger(string(m.Value(i))); ok {
		return strconv.FormatInt(n, 10)
	}
	return strings.Clone(string(m.Value(i)))
}

// Bounds of what a session keeps for redelivery.
const (
	maxMemos    = 32
	maxMemoSize = 256 << 10 // bytes of the request
)

// remember keeps c for as long as the upstream may send its answer again: a copy,
// since c goes on in another goroutine and will hold its answer.
func (s *Session) remember(c *Call) {
	if c.remembered || len(c.Msg.Raw) > maxMemoSize {
		return
	}
	c.remembered = true
	memo := c.again()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.memos) >= maxMemos {
		s.memos = append(s.memos[:0], s.memos[1:]...)
	}
	s.memos = append(s.memos, memo)
}

// recall returns a copy of the call that the scalar at node i of m identifies, the
// latest if an id was used again; nil when there is none. key reads the
// identifying scalar of a remembered call.
func (s *Session) recall(m *wire.Message, i int, key func(*Call) int) *Call {
	if s == nil || i == wire.Absent {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.memos) - 1; n >= 0; n-- {
		c := s.memos[n]
		if at := key(c); at != wire.Absent && sameScalar(m, i, c.Msg, at) {
			return c.again()
		}
	}
	return nil
}

// again is c as it stands when its answer is inspected, for an answer to it that
// comes once more: what it found then is not what is found now. The message is
// scanned anew because one belongs to one goroutine.
func (c *Call) again() *Call {
	m, err := wire.Scan(c.Msg.Raw, wire.Limits{Depth: maxRescan, Keys: maxRescan, Values: maxRescan})
	if err != nil {
		panic(fmt.Sprintf("a message that was scanned cannot be scanned again: %v", err))
	}
	return &Call{
		ID: c.ID, Dir: c.Dir, Verb: c.Verb, Transport: c.Transport, Msg: m, Era: c.Era, Version: c.Version,
		Method: c.Method, Target: c.Target, server: c.server, bare: c.bare, runs: c.runs, Args: c.Args, Principal: c.Principal, delegation: c.delegation, Session: c.Session, Entry: c.Entry,
		method: c.method, targetKind: c.targetKind, rule: c.rule, tool: c.tool, carrier: c.carrier, presented: c.presented,
	}
}

// maxRescan is above every limit: what is scanned again has passed them.
const maxRescan = 1 << 30

func byID(c *Call) int { return c.Msg.ID }

func byToken(c *Call) int { return c.Msg.At(c.Msg.Params, "_meta", "progressToken") }
