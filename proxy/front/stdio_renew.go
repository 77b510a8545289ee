package front

import (
	"net/http"
	"sync"

	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// greeting is how the client opened its session: what it takes to open another one
// on its behalf. Over HTTP a client whose session the server has forgotten opens a
// new one (MCP 2025-11-25, basic/transports, "Session Management"); a client over
// stdio learns nothing of sessions, and would be left with a pipe that is dead.
type greeting struct {
	renewing sync.Mutex // held while a session is opened again

	mu          sync.Mutex
	initialize  []byte // the message
	initialized []byte // the notification, if it was sent
	version     string // the revision that was agreed
}

// hears notes what the client sends to open a session.
func (g *greeting) hears(o wire.Outline, raw []byte) {
	if o.Method == "notifications/initialized" {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.initialized = raw
	}
}

// agreed notes how a session was opened.
func (g *greeting) agreed(initialize, answer []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.initialize, g.initialized, g.version = initialize, nil, agreedVersion(answer)
}

// agreedVersion is the revision that an answer to initialize names.
func agreedVersion(answer []byte) string {
	m, err := wire.Scan(answer, wire.Limits{Keys: wire.DefaultLimits.Values})
	if err != nil {
		return ""
	}
	return m.Text(m.At(m.Result, "protocolVersion"))
}

// ask handles c, which is the request l. When the upstream has forgotten the
// session, so that it has done nothing, the request is sent once more in a new one.
func (p *pipe) ask(c *pipeline.Call, l line, o wire.Outline) {
	s := p.sink(c, o)
	s.renews = c.Head.Session != ""
	p.opts.Handle(p.work, c, s)
	if s.lost == nil {
		return
	}
	if !p.renew(c.Head.Session) {
		_ = p.out.write(s.silence(s.lost))
		return
	}
	c = p.call(l)
	p.opts.Handle(p.work, c, p.sink(c, o))
}

// renew opens a session in the place of lost and says whether there is one now.
func (p *pipe) renew(lost string) bool {
	g := &p.greeting
	g.renewing.Lock()
	defer g.renewing.Unlock()
	if s := p.current(); s == nil || s.id != lost {
		return s != nil // another request has seen to it
	}
	g.mu.Lock()
	initialize, initialized, version := g.initialize, g.initialized, g.version
	g.mu.Unlock()
	c := p.call(line{raw: initialize})
	c.Head.Session = ""
	var r renewal
	p.opts.Handle(p.work, c, &r)
	if r.answer == nil || r.session == "" {
		return false
	}
	s := p.newSession(r.session)
	if agreedVersion(r.answer) != version { // the client would speak another than the server
		s.stop()
		p.endSession(s)
		return false
	}
	if initialized != nil {
		c = p.call(line{raw: initialized})
		c.Head.Session = s.id
		p.opts.Handle(p.work, c, silent{})
	}
	p.use(s).stop() // the upstream knows nothing of it that could be ended
	return true
}

// renewal takes the answer to an initialize that the client did not send.
type renewal struct {
	session string
	answer  []byte // nil unless it was allowed
}

// Session implements [pipeline.Sink].
func (r *renewal) Session(id string) { r.session = id }

// Open implements [pipeline.Sink].
func (r *renewal) Open(bool) {}

// Event implements [pipeline.Sink].
func (r *renewal) Event(wire.Event) error { return nil }

// Answer implements [pipeline.Sink].
func (r *renewal) Answer(a *pipeline.Answer) {
	if a.Outcome == pipeline.Allowed {
		r.answer = a.Body
	}
}

// isLost says whether a says that the session is not known.
func isLost(a *pipeline.Answer) bool { return a.Body == nil && a.Status == http.StatusNotFound }
