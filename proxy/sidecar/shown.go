package sidecar

import (
	"context"
	"strings"
	"sync"

	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/guards/terminal"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
)

// maxShown bounds how many tokens of callers are kept out of the logs of children.
const maxShown = 256

// shownTokens are the tokens that callers were let in with last. What a child writes on
// its stderr belongs to no call, and it may know a token from elsewhere. Those that are
// refused do not count: whoever sends many would have the others forgotten.
type shownTokens struct {
	mu     sync.RWMutex
	tokens identity.Hidden[*tokenRing]
}

type tokenRing struct {
	known map[string]bool
	order []string // the oldest at next, once there are maxShown
	next  int
}

func (s *shownTokens) note(token string) {
	if len(token) < secrets.ShortestOwn || s.knows(token) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ring := s.tokens.Reveal()
	if ring == nil {
		ring = &tokenRing{known: map[string]bool{}}
		s.tokens = identity.Hide(ring)
	}
	switch {
	case ring.known[token]: // somebody was faster
		return
	case len(ring.order) < maxShown:
		ring.order = append(ring.order, token)
	default:
		delete(ring.known, ring.order[ring.next])
		ring.order[ring.next] = token
		ring.next = (ring.next + 1) % maxShown
	}
	ring.known[token] = true
}

func (s *shownTokens) knows(token string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ring := s.tokens.Reveal()
	return ring != nil && ring.known[token]
}

// within returns those that text holds.
func (s *shownTokens) within(text string) (found []string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ring := s.tokens.Reveal()
	if ring == nil {
		return nil
	}
	for _, token := range ring.order {
		if strings.Contains(text, token) {
			found = append(found, token)
		}
	}
	return found
}

// redactChild is redact for what a child writes to its log.
func (s *Sidecar) redactChild(line string) string {
	clean, _ := secrets.Redact(line, append(s.shown.within(line), s.own.list()...)...)
	clean, _ = terminal.Reveal(clean) // it may be a terminal that shows it
	return clean
}

// remembering is next, with what it accepts kept out of the logs of children.
func (s *Sidecar) remembering(next pipeline.Authenticator) pipeline.Authenticator {
	if next == nil || !s.hasChildren() {
		return next
	}
	return remembering{next, &s.shown}
}

func (s *Sidecar) hasChildren() bool {
	for _, u := range s.cfg.Upstreams {
		if u.Command != nil {
			return true
		}
	}
	return false
}

type remembering struct {
	next  pipeline.Authenticator
	shown *shownTokens
}

// Authenticate implements [pipeline.Authenticator].
func (r remembering) Authenticate(ctx context.Context, token identity.Secret) (identity.Principal, error) {
	p, err := r.next.Authenticate(ctx, token)
	if err == nil {
		r.shown.note(token.Reveal())
	}
	return p, err
}
