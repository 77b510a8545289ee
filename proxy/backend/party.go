package backend

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// How long somebody may say nothing before what is kept for them ends.
const (
	ownerIdle   = 10 * time.Minute // a new child is started when the owner comes back
	sessionIdle = 65 * time.Minute // longer than the sidecar keeps a silent session
	sweepEvery  = time.Minute
	maxParties  = 4096 // of a shared child
)

// Restarting. A child that lived for a while is not failing.
const (
	firstBackoff = 250 * time.Millisecond
	lastBackoff  = 30 * time.Second
	healthyLife  = time.Minute
)

var (
	errShut      = fmt.Errorf("%w: closed", ErrTransport)
	errBackoff   = fmt.Errorf("%w: the child has ended and is not started again yet", ErrTransport)
	errCrowded   = fmt.Errorf("%w: no more children are allowed", ErrTransport)
	errNoOwner   = errors.New("the exchange names neither a session nor an owner")
	errNoSession = errors.New("unknown session")
)

// failure is how often children have ended by themselves, one after the other.
type failure struct {
	count int
	until time.Time // no new one is started before
}

// Keys of parties. A session's id is ours and an owner's key is not, so they are
// kept apart.
func sessionKey(id string) string  { return "session " + id }
func ownerKey(owner string) string { return "owner " + owner }

// find returns the party that x belongs to, with a child that runs. Whoever gets
// one has to release it.
func (s *Stdio) find(ctx context.Context, x wire.Exchange) (*party, error) {
	if x.Session == "" {
		if x.Owner == "" {
			return nil, errNoOwner // a child for nobody would be everybody's
		}
		return s.join(ctx, ownerKey(x.Owner), x.Owner, false)
	}
	s.mu.Lock()
	p := s.parties[sessionKey(x.Session)]
	if p == nil {
		s.mu.Unlock()
		return nil, errNoSession
	}
	p.active++
	s.mu.Unlock()
	return s.held(ctx, p)
}

// held waits until p's child runs.
func (s *Stdio) held(ctx context.Context, p *party) (*party, error) {
	if err := p.child.wait(ctx); err != nil {
		s.release(p)
		return nil, err
	}
	return p, nil
}

// release says that an exchange of p's is over.
func (s *Stdio) release(p *party) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.active--
	p.since = s.opts.Now()
}

// join returns the party key, which it makes and gives a child if need be.
func (s *Stdio) join(ctx context.Context, key, owner string, session bool) (*party, error) {
	for {
		s.mu.Lock()
		p := s.parties[key]
		var room <-chan struct{}
		var err error
		if p == nil {
			p, room, err = s.admit(key, owner, session)
		}
		if p != nil {
			p.active++
		}
		s.mu.Unlock()
		switch {
		case p != nil:
			held, err := s.held(ctx, p)
			if err != nil && session {
				s.drop(p) // nobody knows of it yet, so nobody would end it
			}
			return held, err
		case err != nil:
			return nil, err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// admit makes the party key. When there may be room for its child soon it returns
// what to wait for instead. s.mu is held.
func (s *Stdio) admit(key, owner string, session bool) (*party, <-chan struct{}, error) {
	if s.closed {
		return nil, nil, errShut
	}
	if len(s.parties) >= maxParties {
		if s.dropIdle(); len(s.parties) >= maxParties {
			return nil, nil, errCrowded
		}
	}
	c, err := s.launch(owner)
	if errors.Is(err, errCrowded) {
		return s.makeRoom(owner)
	}
	if err != nil {
		return nil, nil, err
	}
	p := &party{key: key, owner: owner, child: c, session: session, since: s.opts.Now()}
	s.parties[key] = p
	s.keepSweeping()
	return p, nil, nil
}

// launch returns the child that is to serve owner next: the shared one that runs,
// or a new one. s.mu is held.
func (s *Stdio) launch(owner string) (*child, error) {
	if s.shared != nil {
		return s.shared, nil
	}
	if f := s.failures[s.failureKey(owner)]; f != nil && s.opts.Now().Before(f.until) {
		return nil, errBackoff
	}
	if len(s.children) >= s.opts.MaxChildren {
		return nil, errCrowded
	}
	c := s.newChild(owner)
	if s.opts.Shared {
		s.shared = c
	}
	return c, nil
}

// failureKey is whose attempts count together.
func (s *Stdio) failureKey(owner string) string {
	if s.opts.Shared {
		return ""
	}
	return owner
}

// makeRoom looks for a child whose end makes room for one of owner's: one that
// ends anyway, an idle one that is started again on demand, or an idle session of
// owner's own. Nobody loses a session to somebody else. s.mu is held.
func (s *Stdio) makeRoom(owner string) (*party, <-chan struct{}, error) {
	for c := range s.children {
		if c.retired {
			return nil, c.over, nil
		}
	}
	var idlest *party
	for _, p := range s.parties {
		idle := p.active == 0 && s.opts.Now().Sub(p.since) >= time.Minute
		if idle && (!p.session || p.owner == owner) && (idlest == nil || p.since.Before(idlest.since)) {
			idlest = p
		}
	}
	if idlest == nil {
		return nil, nil, errCrowded
	}
	s.retireLocked(idlest.child, errEnded, true)
	return nil, idlest.child.over, nil
}

// adopt turns the child of x's owner into that of a session, if it has given no
// result yet: whoever speaks both eras asks for the new one first, and goes on
// with initialize when the server does not know it. It is the same server.
func (s *Stdio) adopt(x wire.Exchange, id string) *party {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parties[ownerKey(x.Owner)]
	if s.opts.Shared || p == nil || p.active > 0 {
		return nil
	}
	p.child.mu.Lock()
	defer p.child.mu.Unlock()
	if p.child.useful || p.child.err != nil {
		return nil
	}
	delete(s.parties, p.key)
	p.key, p.session = sessionKey(id), true
	s.parties[p.key] = p
	p.active++
	return p
}

func newSession() string { return rand.Text() }

// drop forgets p. If its child is its own, that ends.
func (s *Stdio) drop(p *party) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(p)
}

func (s *Stdio) dropLocked(p *party) {
	if s.parties[p.key] != p {
		return
	}
	if !s.opts.Shared {
		s.retireLocked(p.child, errEnded, true)
		return
	}
	delete(s.parties, p.key)
	p.child.forsake(p)
}

// forsake answers what the child still wants to know from p.
func (c *child) forsake(p *party) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.gone, p.queue, p.queued = true, nil, 0
	for key, a := range c.asked {
		if a.party == p {
			delete(c.asked, key)
			c.post(reply(a.rawID, notDelivered))
		}
	}
	for _, e := range p.watches {
		e.box.close(errEnded)
	}
}

// retire has c serve nobody any more and ends it. ours says that the sidecar wants
// it, not the child.
func (s *Stdio) retire(c *child, why error, ours bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retireLocked(c, why, ours)
}

func (s *Stdio) retireLocked(c *child, why error, ours bool) {
	if c.retired {
		return
	}
	c.retired, c.ours = true, ours
	for key, p := range s.parties {
		if p.child == c {
			delete(s.parties, key)
		}
	}
	if s.shared == c {
		s.shared = nil
	}
	// A credential that is missing says nothing of the command.
	if !ours && !c.settled && !errors.Is(why, identity.ErrNoCredential) {
		s.noteFailure(c)
	}
	c.die(why)
	// The child's own goroutine, which is counted already, is still there.
	s.running.Go(func() { c.end(errors.Is(why, errStuck)) })
}

// noteFailure makes the next start wait, longer each time.
func (s *Stdio) noteFailure(c *child) {
	now := s.opts.Now()
	for key, f := range s.failures {
		if now.Sub(f.until) > lastBackoff {
			delete(s.failures, key)
		}
	}
	key := s.failureKey(c.owner)
	f := s.failures[key]
	if f == nil || now.Sub(c.begun) >= healthyLife {
		f = &failure{}
		s.failures[key] = f
	}
	f.until = now.Add(min(firstBackoff<<min(f.count, 16), lastBackoff))
	f.count++
}

// keepSweeping ends what nobody has used for long, for as long as there is
// anything. s.mu is held.
func (s *Stdio) keepSweeping() {
	if s.sweeping {
		return
	}
	s.sweeping = true
	s.opts.After(sweepEvery, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sweeping = false
		s.dropIdle()
		if len(s.parties) > 0 && !s.closed {
			s.keepSweeping()
		}
	})
}

// dropIdle drops whoever has been silent for too long. s.mu is held.
func (s *Stdio) dropIdle() {
	now := s.opts.Now()
	for _, p := range s.parties {
		longest := ownerIdle
		if p.session {
			longest = sessionIdle
		}
		if p.active == 0 && now.Sub(p.since) >= longest {
			s.dropLocked(p)
		}
	}
}
