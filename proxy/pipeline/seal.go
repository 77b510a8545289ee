package pipeline

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"mcp-sidecar/proxy/wire"
)

// stateLife is how long a client may take to answer what an upstream asks for in
// a result.
const stateLife = 30 * time.Minute

// sealer encrypts and authenticates the state that an upstream hands to a client
// and wants back (MCP 2026-07-28, basic/patterns/mrtr, "Server Requirements"). It
// is bound to the principal, the method, its target and arguments, and a time:
// nobody can use another's state, use it for another request, or keep it.
type sealer struct {
	aead cipher.AEAD
	now  func() time.Time
}

func newSealer(key []byte, now func() time.Time) *sealer {
	if len(key) == 0 {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails (crypto/rand)
	}
	derived := sha256.Sum256(append([]byte("mcp-sidecar request state v1\x00"), key...))
	block, _ := aes.NewCipher(derived[:]) // fails for wrong key sizes only
	aead, _ := cipher.NewGCM(block)       // fails for other block sizes only
	return &sealer{aead: aead, now: now}
}

// seal returns state in a form that only open can read, for the same binding.
func (s *sealer) seal(state, binding string) string {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+8+len(state)+s.aead.Overhead())
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	plain := binary.BigEndian.AppendUint64(nil, uint64(s.now().Add(stateLife).Unix()))
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nonce, nonce, append(plain, state...), []byte(binding)))
}

var errState = errors.New("the request state was not sealed here, has expired, or belongs to another request")

func (s *sealer) open(sealed, binding string) (string, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(b) < s.aead.NonceSize() {
		return "", errState
	}
	n := s.aead.NonceSize()
	plain, err := s.aead.Open(nil, b[:n], b[n:], []byte(binding))
	if err != nil || len(plain) < 8 || uint64(s.now().Unix()) > binary.BigEndian.Uint64(plain) {
		return "", errState
	}
	return string(plain[8:]), nil
}

// binding is what a sealed state belongs to. The canonical form rounds integers to
// what a float64 holds, and would make one state of several.
func (c *Call) binding(server string) string {
	arguments := sha256.Sum256([]byte(canonical(c.argumentsWithoutToken(), jsontext.CanonicalizeRawInts(false))))
	return fmt.Sprintf("%q %q %q %q %x", server, c.Principal.Key(), c.Method, c.Target, arguments)
}

// openState gives the upstream its own state back.
func (p *Pipeline) openState(c *Call) ([]wire.Patch, error) {
	at := c.Msg.Member(c.Msg.Params, "requestState")
	if at == wire.Absent || p.opts.Passive {
		return nil, nil
	}
	state, err := p.seal.open(c.Msg.Text(at), c.binding(p.opts.Server))
	if err != nil {
		return nil, malformed(wire.CodeInvalidParams, "request-state", "requestState has expired or does not belong to this request; start over without it")
	}
	return []wire.Patch{c.Msg.ReplaceText(at, state)}, nil
}

// sealState checks a result that asks for input, and seals the state in it. body
// is the inspected result.
func (p *Pipeline) sealState(c *Call, body []byte) ([]byte, error) {
	m, err := wire.Scan(body, p.opts.Limits.Answer)
	if err != nil {
		return nil, failed(fmt.Errorf("inspected message: %w", err))
	}
	if refusal := c.checkInputRequests(m, m.Member(m.Result, "inputRequests")); refusal != nil {
		return nil, refusal
	}
	at := m.Member(m.Result, "requestState")
	switch {
	case at == wire.Absent || p.opts.Passive:
		return body, nil
	case m.Nodes[at].Kind != '"':
		return nil, upstreamFailed("request-state", errors.New("the upstream's requestState is not a string"))
	}
	return wire.Splice(body, []wire.Patch{m.ReplaceText(at, p.seal.seal(m.Text(at), c.binding(p.opts.Server)))})
}

// inputMethods maps what a result may ask for to the capability that the client
// must have declared with the request.
var inputMethods = map[string]string{"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}

// metaCapabilities is where a client of 2026-07-28 says what it offers.
const metaCapabilities = "io.modelcontextprotocol/clientCapabilities"

// checkInputRequests refuses a message that asks, in list, for what the client does
// not offer, or what nothing defines.
func (c *Call) checkInputRequests(m *wire.Message, list int) *Rejection {
	offered := c.Msg.At(c.Msg.Params, "_meta", metaCapabilities)
	for i := range m.ChildrenOf(list) {
		capability, ok := inputMethods[m.Text(m.Member(i, "method"))]
		if !ok {
			return upstreamFailed("input-request", errors.New("the upstream asks for an input that nothing defines"))
		}
		if at := c.Msg.Member(offered, capability); at == wire.Absent || c.Msg.Nodes[at].Kind != '{' {
			return upstreamFailed("input-request", fmt.Errorf("the upstream asks for %s, which the client does not offer", capability))
		}
	}
	return nil
}

// declaredCapabilities reads what a client offers when it opens a session.
func (c *Call) declaredCapabilities() []string {
	m := c.Msg
	var names []string
	for i := range m.ChildrenOf(m.Member(m.Params, "capabilities")) {
		if m.Nodes[i].Kind == '{' && slices.Contains([]string{"sampling", "elicitation", "roots", "tasks"}, m.Name(i)) {
			names = append(names, m.Name(i))
		}
	}
	for i := range names {
		names[i] = string([]byte(names[i])) // not the message's memory
	}
	return names
}
