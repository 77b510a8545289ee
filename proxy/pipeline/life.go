package pipeline

import (
	"context"
	"time"

	"mcp-sidecar/proxy/wire"
)

// New returns a pipeline for one upstream.
func New(o Options) *Pipeline {
	o = o.withDefaults()
	p := &Pipeline{opts: o, sessions: o.Shared.sessions, quota: &o.Shared.quota, seal: newSealer(o.SealKey.Reveal(), o.Now), events: newEventKey()}
	p.inventories = inventories{make: func() *inventory { return newInventory(p.fetchTools, o.Now) }}
	p.closing, p.close = context.WithCancel(context.Background())
	p.draining, p.drain = context.WithCancel(p.closing)
	p.idle.Go(p.expireSessions)
	return p
}

// Drain ends the streams on which clients only wait for news, so that the calls
// in flight have the time that is left to finish. It returns at once.
func (p *Pipeline) Drain() { p.drain() }

// Close ends the calls that outlive their client's connection, and waits for a
// while until every call has been recorded.
func (p *Pipeline) Close() {
	p.drain()
	p.close()
	p.calls.wait(closeTime)
	p.idle.Wait()
}

// sessionSweep is how often sessions are looked at: one whose client never comes
// back may keep a process of the upstream alive.
const sessionSweep = time.Minute

func (p *Pipeline) expireSessions() {
	t := time.NewTicker(sessionSweep)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.sessions.expire()
		case <-p.closing.Done():
			return
		}
	}
}

// forget ends the upstream's side of a session that ended on ours. It is told
// and not asked: nothing depends on its answer.
func (p *Pipeline) forget(s *Session) {
	if s.Upstream == "" || p.closing.Err() != nil {
		return
	}
	p.idle.Go(func() {
		ctx, cancel := context.WithTimeout(p.closing, refuseTime)
		defer cancel()
		x := wire.Exchange{Verb: wire.End, Session: s.Upstream, Version: s.version, Delegated: s.delegated()}
		if err := p.opts.Upstream.Do(ctx, x, discard{}); err != nil && p.closing.Err() == nil {
			p.opts.Log.Warn("the upstream could not be told that a session has ended", "error", p.opts.Redact(err.Error()))
		}
	})
}

// closeTime is how long Close waits.
const closeTime = 5 * time.Second
