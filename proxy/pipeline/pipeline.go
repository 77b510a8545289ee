// Package pipeline decides every message that passes the sidecar.
//
// The order of the checks is the list in [Pipeline.stages], and nowhere else. A
// message runs the list whatever its method, kind or direction; it ends with
// exactly one [Outcome], one audit record, and one answer.
//
// Three questions stay separate: who are you (authenticate), what did this
// credential grant (scope) and what may this identity do (role; both in
// authorize). The guards ask a fourth, independent one: is this safe?
package pipeline

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"mcp-sidecar/guards"
	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/wire"
)

// Authenticator verifies a presented token. Its errors are an
// *identity.Refusal, or wrap identity.ErrUnavailable.
type Authenticator interface {
	Authenticate(ctx context.Context, token identity.Secret) (identity.Principal, error)
}

// Authorizer answers what a subject ("user:alice") may do, by itself or by roles
// that its token or a directory gave it.
type Authorizer interface {
	Decide(subject string, p policy.Permission, given ...string) policy.Decision
	Roles(subject string, given ...string) []string
	Revision() string
}

// Upstream carries an exchange to the guarded server. It returns the sink's
// error when the sink stopped it.
type Upstream interface {
	Do(ctx context.Context, x wire.Exchange, sink wire.Sink) error
}

// Recorder makes a record durable before it returns.
type Recorder interface {
	Record(e audit.Event) error
}

// Sink takes what goes back to whoever sent a message: the session that it
// opened, if any, then any number of events, then one answer.
type Sink interface {
	Session(id string)
	// Open says that the answer is a stream, before its first message. At once
	// means that it may stay silent for long, so that its beginning must not wait
	// for one.
	Open(atOnce bool)
	Event(ev wire.Event) error
	Answer(a *Answer)
}

// Pipeline is safe for concurrent use.
type Pipeline struct {
	opts        Options
	sessions    *sessions
	inventories inventories
	quota       *quota
	calls       inFlight
	flights     flights
	given       given
	streams     openStreams
	seal        *sealer
	events      eventKey
	draining    context.Context // ends the streams that stay open
	drain       context.CancelFunc
	closing     context.Context // ends everything
	close       context.CancelFunc
	idle        sync.WaitGroup // what works beside the calls
}

type stage struct {
	name string
	run  func(context.Context, *Call) error
}

// stages is the order of the checks. A stage returns nil to let the call go on,
// or says why not; nothing behind it runs then.
func (p *Pipeline) stages() [5]stage {
	return [...]stage{
		{"receive", p.receive},            // is it a well-formed message that we know?
		{"authenticate", p.authenticate},  // who are you?
		{"authorize", p.authorize},        // token scope AND role, scope first
		{"inspect-input", p.inspectInput}, // is the request safe?
		{"execute", p.execute},            // the only line that reaches the upstream; its sink inspects every answer
	}
}

// Handle decides c and sends its answers to out. One outcome record is durable
// before the terminal answer leaves, on every path, panics included.
func (p *Pipeline) Handle(ctx context.Context, c *Call, out Sink) {
	c.begin(p.opts.Now(), out)
	p.calls.enter()
	defer p.calls.leave()
	defer p.finish(c, out)
	for _, s := range p.stages() {
		c.Stage = s.name
		if err := s.run(ctx, c); err != nil {
			c.reject(err)
			return
		}
	}
	c.Outcome = Allowed
}

// finish recovers, audits, then answers. What was not recorded is not answered
// with success: the result is withheld.
func (p *Pipeline) finish(c *Call, out Sink) {
	if v := recover(); v != nil {
		// The value may hold anything, a secret included; its type and the stack
		// are enough to find the fault.
		c.reject(fmt.Errorf("panic of type %T", v))
		p.opts.Log.Error("panic while handling a message", "audit_id", c.ID, "stage", c.Stage, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
	}
	p.release(c)
	answer := p.answer(c)
	if err := p.write(p.record(c, answer)); err != nil {
		p.opts.Log.Error("audit record could not be written; the answer is withheld", "audit_id", c.ID, "error", err)
		c.reject(unavailable("audit", err))
		p.release(c)
		answer = p.answer(c)
	}
	if c.refusal != nil && c.refusal.Cause != nil {
		p.opts.Log.Warn("message refused", "audit_id", c.ID, "stage", c.Stage, "outcome", c.Outcome.String(), "cause", p.opts.Redact(c.refusal.Cause.Error()))
	}
	out.Answer(answer)
}

// write records e. A recorder that panics has recorded nothing.
func (p *Pipeline) write(e audit.Event) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic of type %T", v)
		}
	}()
	return p.opts.Recorder.Record(e)
}

// release gives back what the call held while it ran, and the session that a
// refused call opened.
func (p *Pipeline) release(c *Call) {
	p.quota.release(c)
	if c.watching {
		p.sessions.unwatch(c)
	}
	if c.usesSession {
		c.usesSession = false
		p.sessions.leave(c.Session)
	}
	if c.Outcome != Allowed && c.method != nil && c.method.opensSession && c.Session != nil && !p.sessions.ended(c.Session) {
		p.sessions.end(c.Session)
		p.forget(c.Session) // it is open at the upstream, and no client knows of it
	}
	if c.holdsSession {
		c.holdsSession = false
		p.sessions.unreserve(c.Principal.Key())
	}
}

// modeOf says what becomes of guard's findings in c's tool. The sidecar's own
// credentials are nobody's to read, whatever is configured: where the guard for all
// secrets does not enforce, one for them alone does. Never both, since each would
// cut by offsets into what the other has changed.
func (p *Pipeline) modeOf(guard string, c *Call) guards.Mode {
	if guard == ownCredential {
		if p.modeOf(redacting, c) == guards.Enforce {
			return guards.Off
		}
		return guards.Enforce
	}
	if m, ok := c.rule.Guards[guard]; ok {
		return m
	}
	return p.opts.Modes[guard]
}

// since is the time from t until now in milliseconds.
func (p *Pipeline) since(t time.Time) float64 {
	return float64(p.opts.Now().Sub(t).Microseconds()) / 1000
}
