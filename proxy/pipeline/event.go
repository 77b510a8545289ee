package pipeline

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// maxEventID bounds the id of an upstream's event, in bytes.
const maxEventID = 1024

// eventKey marks the ids of events with the session that they were sent in (MCP
// 2025-11-25, basic/transports, "Resumability and Redelivery"). A server that
// keeps the events of all sessions in one place would otherwise send one client
// what another was told.
type eventKey struct{ key identity.Hidden[[]byte] }

func newEventKey() eventKey {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return eventKey{identity.Hide(key)}
}

// markSize is the length of a mark and the dot before it, in bytes.
var markSize = 1 + base64.RawURLEncoding.EncodedLen(markBytes)

const markBytes = 16

// mark is id as the client of session reads it.
func (k *eventKey) mark(session, id string) string {
	h := hmac.New(sha256.New, k.key.Reveal())
	_, _ = h.Write([]byte(session + "\x00" + id)) // never fails (package hash)
	return id + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:markBytes])
}

// unmark is the upstream's id of what the client of session read.
func (k *eventKey) unmark(session, marked string) (string, bool) {
	if len(marked) < markSize || len(marked) > maxEventID+markSize || !isVisible(marked) {
		return "", false
	}
	id := marked[:len(marked)-markSize]
	return id, hmac.Equal([]byte(k.mark(session, id)), []byte(marked))
}

// readEvent finds the event after which the client wants its stream resumed. It
// comes after the session: who has lost that must learn it, whatever he asks for.
func (p *Pipeline) readEvent(c *Call) error {
	if c.Verb != wire.Watch || c.Head.LastEvent == "" {
		return nil
	}
	id, ok := p.events.unmark(c.Session.ID, c.Head.LastEvent)
	if !ok {
		return malformed(wire.CodeInvalidRequest, "last-event-id", "Last-Event-ID is no id that was given out in this session")
	}
	c.lastEvent = id
	return nil
}
