package sidecar

import "time"

// recheckEvery is how often the list of revoked tokens is read again, and the tokens
// of open streams are verified again. What is remembered of a token is used, so an
// issuer is asked no more often than by calls.
const recheckEvery = 2 * time.Second

// recheck learns of tokens that were taken back, and ends their streams, until Close.
func (s *Sidecar) recheck() {
	tick := time.NewTicker(s.opts.Recheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.life.Done():
			return
		}
		s.look()
	}
}

func (s *Sidecar) look() {
	if s.verifiers != nil { // else all callers come by way of the broker
		s.verifiers.Revoked.Look()
	}
	for _, e := range s.endpoints {
		e.pipeline.Recheck()
	}
}
