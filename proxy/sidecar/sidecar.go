// Package sidecar puts the parts together: it builds everything a configuration
// asks for, listens, and takes it down again. Nothing here decides about a
// message; the order of the checks is in package pipeline.
package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"mcp-sidecar/guards/ssrf"
	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/broker"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/egress"
	"mcp-sidecar/proxy/identity"
)

// ErrConfig says that the configuration names something that is not usable: a
// file that cannot be read, a policy that does not parse.
var ErrConfig = errors.New("configuration")

// Options are what a configuration file cannot say.
type Options struct {
	// Stderr receives logs and, where configured, audit records. Nil discards.
	Stderr io.Writer
	// Token is the credential of the client of ServePipe. TokenFile names a file that
	// holds it and is read again for each message, since credentials expire. At most
	// one of them is set.
	Token     identity.Secret
	TokenFile string
	// Resolver answers names for the SSRF guard. Nil means the system's.
	Resolver ssrf.Resolver
	// Now is the clock. Nil means the system's.
	Now func() time.Time
	// After runs a function later. Nil means the system's timer.
	After func(time.Duration, func())
	// ClientTime is how long a client may take to send a request, or to accept a
	// piece of an answer. Zero means 30 seconds.
	ClientTime time.Duration
	// Drain is how long calls in flight may take to finish at the end. Zero means
	// 10 seconds.
	Drain time.Duration
	// Recheck is how often the list of revoked tokens is read again, and the tokens of
	// open streams are verified again. Zero means every 2 seconds.
	Recheck time.Duration
	// PolicyPoll is how often the policy is looked at without being told of a change.
	// Zero means every 2 seconds.
	PolicyPoll time.Duration
}

// Sidecar is one running instance. Build it with New, then Listen, then Serve.
type Sidecar struct {
	cfg       *config.Config
	opts      Options
	log       *slog.Logger
	audit     *audit.Writer
	endpoints []*endpoint // by name
	parts     parts
	policies  policy.Store // nil without one
	own       ownSecrets
	stored    map[string]*identity.Stored // what servers are shown, by server
	verifiers *identity.Verifiers         // nil where everybody is anonymous
	shown     shownTokens                 // by callers
	broker    *broker.Broker              // nil without one
	egress    *egress.Proxy               // nil without one
	doubts    *doubts                     // nil without a classifier
	fetchers  []*identity.Fetcher         // of the broker, and for tokens that servers are shown

	certificates *certificates // nil without TLS
	listener     *listener     // of the MCP endpoints; nil before Listen
	probes       *listener     // nil without diagnostics
	draining     atomic.Bool
	life         context.Context // until Close
	end          context.CancelFunc
	busy         sync.WaitGroup // what works until then
}

// New builds a sidecar from cfg, which must be valid. It reads the files that
// cfg names and opens the audit file; it does not listen yet. Errors wrap
// ErrConfig when cfg is to blame.
func New(cfg *config.Config, o Options) (*Sidecar, error) {
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ClientTime == 0 {
		o.ClientTime = clientTime
	}
	if o.Drain == 0 {
		o.Drain = drainTime
	}
	if o.Recheck == 0 {
		o.Recheck = recheckEvery
	}
	s := &Sidecar{cfg: cfg, opts: o, log: slog.New(slog.NewJSONHandler(o.Stderr, nil))}
	s.life, s.end = context.WithCancel(context.Background())
	if err := s.build(); err != nil {
		_ = s.closeParts()
		return nil, err
	}
	if cfg.Auth != nil || cfg.Broker != nil {
		s.busy.Go(s.recheck)
	}
	s.busy.Go(func() { s.followPolicy(s.life) })
	return s, nil
}

// URL is the address of the first MCP endpoint, once Listen has returned.
func (s *Sidecar) URL() string { return s.URLs()[0] }

// URLs are the addresses of all MCP endpoints, in the order of their servers'
// names, once Listen has returned.
func (s *Sidecar) URLs() []string {
	var urls []string
	for _, e := range s.endpoints {
		urls = append(urls, s.listener.url()+e.path)
	}
	return urls
}

func (s *Sidecar) closeParts() error {
	s.end()
	var err error
	if s.policies != nil {
		err = s.policies.Close() // a database that says nothing would hold up what follows
	}
	s.busy.Wait()
	err = errors.Join(err, s.closeEndpoints())
	if s.egress != nil {
		s.egress.Close() // after the processes that use it, before the record of what they did
	}
	if s.verifiers != nil {
		s.verifiers.Close()
	}
	if s.doubts != nil {
		s.doubts.client.Close()
	}
	for _, f := range s.fetchers {
		f.Close()
	}
	if s.audit != nil {
		err = errors.Join(err, s.audit.Close())
	}
	return err
}

// readSecret reads a credential from a file that the configuration names.
func (s *Sidecar) readSecret(name string) (string, error) {
	secret, err := identity.ReadSecretFile(s.cfg.Resolve(name))
	if err != nil {
		return "", fmt.Errorf("%w: secret file: %w", ErrConfig, err)
	}
	return secret, nil
}
