package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mcp-sidecar/proxy/identity"
)

// Times of verifying a stream's token again.
const (
	recheckTime = 10 * time.Second // for one answer
	// unverifiedTime is how long a stream stays open while nobody can say whether its
	// token still holds.
	unverifiedTime = time.Minute
)

// openStreams are the streams that stay open, each with the token that opened it. A
// message is verified once; a stream carries news for hours.
type openStreams struct {
	mu  sync.Mutex
	all map[*openStream]bool // whether its token is being verified
}

type openStream struct {
	token    identity.Secret
	owner    string // key of the principal
	end      func(why string)
	verified time.Time // when its token was last found good; guarded by openStreams.mu
}

// guard keeps s in sight until the returned function is called.
func (o *openStreams) guard(s *openStream) func() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[*openStream]bool{}
	}
	o.all[s] = false
	return func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.all, s)
		return true
	}
}

// take returns those that are not being verified, and notes that they are now.
func (o *openStreams) take() []*openStream {
	o.mu.Lock()
	defer o.mu.Unlock()
	var idle []*openStream
	for s, busy := range o.all {
		if !busy {
			o.all[s] = true
			idle = append(idle, s)
		}
	}
	return idle
}

// put gives back what take has taken, and returns when its token was last found
// good.
func (o *openStreams) put(s *openStream, good bool, now time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, open := o.all[s]; open {
		o.all[s] = false
	}
	if good {
		s.verified = now
	}
	return s.verified
}

// guardStream has the token of c's stream verified by Recheck, which ends it when
// the token does not hold any more.
func (p *Pipeline) guardStream(c *Call, end func(why string)) func() bool {
	token, err := c.token()
	if p.opts.Authenticator == nil || err != nil {
		return func() bool { return true } // nobody is asked for one
	}
	return p.streams.guard(&openStream{token: token, owner: c.Principal.Key(), end: end, verified: p.opts.Now()})
}

// Recheck verifies the tokens of the streams that are open, and ends those whose
// token was taken back. It does not wait for that: an issuer that hangs holds up
// nobody else's.
func (p *Pipeline) Recheck() {
	if p.closing.Err() != nil {
		return
	}
	for _, s := range p.streams.take() {
		p.idle.Go(func() { p.recheck(s) })
	}
}

func (p *Pipeline) recheck(s *openStream) {
	who, err := p.again(s.token)
	now := p.opts.Now()
	good := err == nil && who.Key() == s.owner
	verified := p.streams.put(s, good, now)
	var refusal *identity.Refusal
	switch {
	case good:
	case errors.Is(err, identity.ErrExpired):
		s.end("token-expired")
	case err == nil || errors.As(err, &refusal):
		s.end("token-revoked")
	case now.Sub(verified) >= unverifiedTime:
		s.end("token-unverified")
	}
}

// again verifies token. A verifier that panics has not said anything.
func (p *Pipeline) again(token identity.Secret) (who identity.Principal, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic of type %T", v)
			p.opts.Log.Error("panic while verifying the token of a stream", "type", fmt.Sprintf("%T", v))
		}
	}()
	ctx, cancel := context.WithTimeout(p.closing, recheckTime)
	defer cancel()
	return p.opts.Authenticator.Authenticate(ctx, token)
}
