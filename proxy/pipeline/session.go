package pipeline

import (
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"mcp-sidecar/proxy/identity"
)

// Life of a session. It grants nothing, and its number is capped; some clients do
// not start a new one by themselves, so it should outlive a lunch break.
const (
	sessionIdle     = time.Hour
	sessionAbsolute = 24 * time.Hour
)

// Session ties a session id of ours to the upstream's and to the principal that
// opened it (MCP 2025-11-25, basic/transports, "Session Management"). It is
// never authentication: the token is verified on every message.
type Session struct {
	ID       string
	Upstream string // the upstream's id; never shown to a client
	version  string // negotiated revision; empty until the upstream's answer has named it
	owner    string
	server   string // whose pipeline opened it
	piped    bool   // lives as long as the pipe that it was opened on
	opened   time.Time
	active   int // messages being handled
	watching int // open streams
	used     time.Time

	capabilities []string       // that the client declared; set once, before the session is known
	forget       func(*Session) // told when the session ends for another reason than its client's wish

	mu         sync.Mutex
	delegation *identity.Delegation // of whoever used it last
	asked      map[string]*asked    // requests of the upstream that the client has not answered, by id
	memos      []*Call              // calls whose answers the upstream may send again, oldest first
}

// declared says whether the client offers capability. Where there is no session,
// nobody has said so.
func (s *Session) declared(capability string) bool {
	return s != nil && slices.Contains(s.capabilities, capability)
}

// sessions are those of every pipeline that shares them: the cap is per principal,
// whatever the server.
type sessions struct {
	max int // per principal
	now func() time.Time

	mu    sync.Mutex
	byID  map[string]*Session
	count map[string]int // by owner, reserved places included
	swept time.Time
}

func newSessions(max int, now func() time.Time) *sessions {
	return &sessions{max: max, now: now, byID: map[string]*Session{}, count: map[string]int{}}
}

// find returns owner's session id at server and its revision, or nil. Sessions of others and
// sessions that do not exist look the same, and so do those at another server; foreign tells them apart for those
// who may know.
//
// A session that a stranger opened on a pipe belongs to the first principal who
// uses it, or to all of them where shared says so.
func (t *sessions) find(id, owner, server string, shared bool) (s *Session, version string, foreign bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s = t.byID[id]
	if s == nil || s.server != server {
		return nil, "", false
	}
	if now := t.now(); s.expired(now) {
		t.drop(s)
		s.forget(s)
		return nil, "", false
	}
	switch {
	case s.owner == owner, shared, owner == strangers: // a stranger only opens and pings
	case s.owner == strangers:
		t.rebind(s, owner)
	default:
		return nil, "", true
	}
	s.used = t.now()
	s.active++
	return s, s.version, false
}

func (t *sessions) rebind(s *Session, owner string) {
	t.uncount(s.owner)
	s.owner = owner
	t.count[owner]++
}

// maxWatching bounds the open streams of one session.
const maxWatching = 8

// watch takes one of the places for streams of c's session.
func (t *sessions) watch(c *Call) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Session.watching >= maxWatching {
		return false
	}
	c.Session.watching++
	c.watching = true
	return true
}

func (t *sessions) unwatch(c *Call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.watching = false
	c.Session.watching--
}

// expired says whether s has been silent for too long, or has lived for too long. A
// message that is being handled, an open stream included, is no silence. A pipe's
// session lasts as long as the pipe: its client is there, and could not open another.
func (s *Session) expired(now time.Time) bool {
	return !s.piped && (s.active == 0 && now.Sub(s.used) > sessionIdle || now.Sub(s.opened) > sessionAbsolute)
}

// reserve holds a place for a session that owner is about to open, so that
// concurrent openings cannot exceed the cap together.
func (t *sessions) reserve(owner string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.now(); t.count[owner] >= t.max || now.Sub(t.swept) > sessionIdle {
		t.sweep(now)
	}
	if t.count[owner] >= t.max {
		t.evict(owner)
	}
	if t.count[owner] >= t.max {
		return false
	}
	t.count[owner]++
	return true
}

// evictable is how long a session must have been silent to make room for a new
// one. Clients that never end their sessions would lock their principal out.
const evictable = time.Minute

// evict drops owner's longest silent session, if it has been silent for a while.
func (t *sessions) evict(owner string) {
	var oldest *Session
	for _, s := range t.byID {
		if s.owner == owner && s.active == 0 && (oldest == nil || s.used.Before(oldest.used)) {
			oldest = s
		}
	}
	if oldest != nil && t.now().Sub(oldest.used) >= evictable {
		t.drop(oldest)
		oldest.forget(oldest)
	}
}

// leave says that a message of s has been handled.
func (t *sessions) leave(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.active--
	s.used = t.now()
}

// sweep drops what has expired: owners who never come back would otherwise keep
// their sessions for ever.
func (t *sessions) sweep(now time.Time) {
	t.swept = now
	for _, s := range t.byID {
		if s.expired(now) {
			t.drop(s)
			s.forget(s)
		}
	}
}

// expire is sweep for whoever does not hold the lock.
func (t *sessions) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(t.now())
}

// open turns a reserved place into a session. The id has at least 128 bits from
// crypto/rand.
func (t *sessions) open(s *Session) *Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	s.ID, s.opened, s.used = rand.Text(), now, now
	t.byID[s.ID] = s
	return s
}

// negotiated notes the revision that the upstream's answer names.
func (t *sessions) negotiated(s *Session, version string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.version = version
}

// unreserve gives a place back that no session came to fill.
func (t *sessions) unreserve(owner string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.uncount(owner)
}

// ended says whether s is a session that is over.
func (t *sessions) ended(s *Session) bool {
	if s == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[s.ID] != s
}

// end forgets s; it may have been forgotten already.
func (t *sessions) end(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[s.ID] == s {
		t.drop(s)
	}
}

func (t *sessions) drop(s *Session) {
	delete(t.byID, s.ID)
	t.uncount(s.owner)
}

func (t *sessions) uncount(owner string) {
	if t.count[owner]--; t.count[owner] == 0 {
		delete(t.count, owner)
	}
}
