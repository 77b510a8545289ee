package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"mcp-sidecar/proxy/front"
)

// Paths of the probes. There is nothing else at their address.
const (
	LivePath  = "/livez"
	ReadyPath = "/readyz"
)

// Bounds of what probes cause.
const (
	maxProbes  = 64              // connections
	probeTime  = 2 * time.Second // for one question to a server
	probeAgain = time.Second     // between two questions to a server
)

// Check is one line of what a probe reads.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"` // a fixed phrase; causes stand in the log
}

// Readiness is what a probe reads.
type Readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// diagnostics answers probes. It asks nobody who he is and so tells nothing that
// could not be read from outside.
type diagnostics struct {
	hosts   front.Hosts
	ready   func() Readiness
	timeout time.Duration // for a client to take the answer
}

// ServeHTTP implements [http.Handler].
func (d *diagnostics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	deadline := time.Now().Add(d.timeout + probeTime)
	_, _ = rc.SetReadDeadline(deadline), rc.SetWriteDeadline(deadline)
	switch {
	case !d.hosts.Allow(r):
		// A web page could otherwise look at the inside through a re-pointed name.
		respond(w, http.StatusForbidden, map[string]string{"error": "this Host is not served; add it to allowed_hosts"})
	case r.URL.EscapedPath() != LivePath && r.URL.EscapedPath() != ReadyPath:
		respond(w, http.StatusNotFound, map[string]string{"error": "nothing here but " + LivePath + " and " + ReadyPath})
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		respond(w, http.StatusMethodNotAllowed, map[string]string{"error": "probes are read with GET"})
	case r.URL.EscapedPath() == LivePath:
		respond(w, http.StatusOK, map[string]bool{"live": true})
	default:
		state, code := d.ready(), http.StatusOK
		if !state.Ready {
			code = http.StatusServiceUnavailable
		}
		respond(w, code, state)
	}
}

func respond(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}

// listenForProbes opens the listener for probes. It speaks TLS where somebody
// could stand in between, if there is a certificate.
func (s *Sidecar) listenForProbes() error {
	overTLS := s.certificates.forProbes()
	if !s.cfg.OverTLS() {
		overTLS = nil
	}
	var err error
	if s.probes, err = s.open(s.cfg.Diagnostics.Address(), maxProbes, overTLS); err != nil {
		return fmt.Errorf("diagnostics.listen: %w", err)
	}
	s.probes.server.Handler = &diagnostics{hosts: front.NewHosts(s.cfg.AllowedHosts...), ready: s.readiness, timeout: s.opts.ClientTime}
	return nil
}

// ProbeURL is the address of the probes without a path, once Listen has returned;
// empty where there are none.
func (s *Sidecar) ProbeURL() string {
	if s.probes == nil {
		return ""
	}
	return s.probes.url()
}

// readiness says whether calls can be expected to succeed: the rules are there, a
// server has answered once, and this is not the end. One that has answered is
// not asked again: a failure later is for its callers to see, and not a reason
// to take every replica out of service at the same time.
func (s *Sidecar) readiness() Readiness {
	rules, decides := s.policyCheck()
	checks := []Check{rules}
	listed, letsIn := s.revokedCheck()
	checks = append(checks, listed...)
	own := s.servers()
	servers := make([]Check, len(own))
	var wait sync.WaitGroup
	for i, e := range own {
		wait.Go(func() {
			servers[i] = Check{Name: "upstream " + e.name, OK: e.answered.ask(s, e), Why: "has not answered yet"}
		})
	}
	wait.Wait()
	reached := false
	for i := range servers {
		if servers[i].OK {
			reached, servers[i].Why = true, ""
		}
	}
	checks = append(checks, servers...)
	serving := Check{Name: "serving", OK: !s.draining.Load()}
	if !serving.OK {
		serving.Why = "is shutting down"
	}
	return Readiness{Ready: decides && letsIn && reached && serving.OK, Checks: append(checks, serving)}
}

// revokedCheck says how the list of revoked tokens is, where there is one, and
// whether anybody is let in: a list that cannot be read is in force for a while.
func (s *Sidecar) revokedCheck() (checks []Check, letsIn bool) {
	if s.verifiers == nil || s.verifiers.Revoked == nil {
		return nil, true
	}
	c := Check{Name: "revoked tokens"}
	c.OK, letsIn = s.verifiers.Revoked.Health()
	switch {
	case !letsIn:
		c.Why = "the list has not been readable for so long that nobody is let in"
	case !c.OK:
		c.Why = "the list cannot be used; what it said before is in force"
	}
	return []Check{c}, letsIn
}

// answered remembers whether a server has ever answered.
type answered struct {
	mu    sync.Mutex // held while the server is asked
	yes   bool
	asked time.Time
	said  string // what the log knows already
}

// ask returns whether e's server has ever answered. It asks at most once in a
// while, and never twice at the same time: whoever reaches the probes could
// otherwise make the sidecar flood the server.
func (a *answered) ask(s *Sidecar, e *endpoint) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := s.opts.Now()
	if since := now.Sub(a.asked); a.yes || !a.asked.IsZero() && since >= 0 && since < probeAgain {
		return a.yes
	}
	// Not the probe's own context: a prober that gives up soon would never let a
	// slow server answer.
	ctx, cancel := context.WithTimeout(s.life, min(probeTime, s.opts.ClientTime))
	defer cancel()
	err := e.upstream.Ready(ctx)
	a.asked, a.yes = now, err == nil
	if text := fmt.Sprint(err); text != a.said {
		a.said = text
		if err != nil {
			s.log.Warn("not ready: the upstream has not answered", "upstream", e.name, "error", s.redact(text))
		}
	}
	return a.yes
}
