package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/guards/terminal"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/pipeline"
)

// ownSecrets are the credentials that the sidecar has read, so that none of them
// is handed to a child, echoed by a server or written to a log, whichever part of
// the sidecar it belongs to.
type ownSecrets struct {
	mu  sync.Mutex
	of  map[string]identity.Hidden[[]string] // by what it is for, the newest last
	all atomic.Pointer[identity.Hidden[[]string]]
}

// remembered is how many values of one secret are kept out of sight. An answer
// under way may hold the one before.
const remembered = 3

// learn notes a value of the secret called name.
func (o *ownSecrets) learn(name, value string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.of[name].Reveal()
	if value == "" || slices.Contains(known, value) {
		return
	}
	if o.of == nil {
		o.of = map[string]identity.Hidden[[]string]{}
	}
	o.of[name] = identity.Hide(append(known[max(0, len(known)-remembered+1):len(known):len(known)], value))
	var all []string
	for _, name := range slices.Sorted(maps.Keys(o.of)) {
		all = append(all, o.of[name].Reveal()...)
	}
	hidden := identity.Hide(all)
	o.all.Store(&hidden)
}

// list returns them as they are now.
func (o *ownSecrets) list() []string {
	if all := o.all.Load(); all != nil {
		return all.Reveal()
	}
	return nil
}

// holds says whether text contains one of them. A short one must be the whole of
// it: as a part it could be an ordinary word.
func (o *ownSecrets) holds(text string) bool {
	return slices.ContainsFunc(o.list(), func(secret string) bool {
		return text == secret || len(secret) >= secrets.ShortestOwn && strings.Contains(text, secret)
	})
}

// redact removes secrets from texts for the audit file and for logs, the sidecar's
// own included, and makes visible what is hidden in them.
func (s *Sidecar) redact(text string) string {
	clean, _ := secrets.Redact(text, s.own.list()...)
	clean, _ = terminal.Reveal(clean)
	return clean
}

// learnSecrets reads every credential once. Those that servers are shown are kept
// for whoever shows them.
func (s *Sidecar) learnSecrets() error {
	if s.opts.TokenFile != "" {
		if _, err := identity.ReadSecretFile(s.opts.TokenFile); err != nil {
			return fmt.Errorf("%w: the caller's token: %w", ErrConfig, err)
		}
	}
	s.own.learn("the caller's token", s.opts.Token.Reveal())
	s.callerToken()
	s.learnDatabase()
	for _, file := range s.secretFiles() {
		secret, err := s.readSecret(file)
		if err != nil {
			return err
		}
		s.own.learn(file, secret)
	}
	for _, unused := range s.cfg.Unused {
		s.own.learn("unused "+unused.ValueEnv, os.Getenv(unused.ValueEnv))
	}
	s.stored = map[string]*identity.Stored{}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Upstreams)) {
		if err := s.store(name, s.cfg.Upstreams[name].Credential); err != nil {
			return fmt.Errorf("%w: upstreams.%s.credential: %w", ErrConfig, name, err)
		}
	}
	return nil
}

// secretFiles are the files with secrets that no server is shown.
func (s *Sidecar) secretFiles() []string {
	files := append(s.brokerSecrets(), s.cfg.SealKeyFile)
	for _, unused := range s.cfg.Unused {
		files = append(files, unused.File, unused.ClientSecretFile)
	}
	if s.cfg.Classifier != nil {
		files = append(files, s.cfg.Classifier.TokenFile)
	}
	if s.cfg.Auth != nil {
		for _, i := range s.cfg.Auth.Introspection {
			files = append(files, i.ClientSecretFile)
		}
	}
	return slices.DeleteFunc(files, func(name string) bool { return name == "" })
}

// store makes the secret that the server called name is shown, where its operator
// keeps one.
func (s *Sidecar) store(name string, c config.Credential) error {
	o := identity.StoredOptions{
		Command: c.Exec, Env: identity.Hide(commandEnv()), MaxAge: time.Duration(c.MaxAge),
		Accept: func(value string) error { return s.accept("upstreams."+name, value) },
		Log:    s.log.With("upstream", name), Now: s.opts.Now,
	}
	switch {
	case c.File != "":
		o.File = s.cfg.Resolve(c.File)
	case c.ValueEnv != "":
		value := os.Getenv(c.ValueEnv)
		if value == "" {
			return fmt.Errorf("the variable %s is empty or not set", c.ValueEnv)
		}
		o.Value = identity.NewSecret(value)
	case c.Exec == nil:
		return nil
	}
	stored, err := identity.NewStored(o)
	s.stored[name] = stored
	return err
}

// arguments are the credentials that servers take as arguments of their tools.
func (s *Sidecar) arguments() map[string]pipeline.Argument {
	all := map[string]pipeline.Argument{}
	for name, u := range s.cfg.Upstreams {
		if u.Credential.Kind == config.CredentialArg {
			stored := s.stored[name]
			all[name] = pipeline.Argument{Name: u.Credential.Argument, Value: func(ctx context.Context) (identity.Credential, error) { return stored.Current(ctx, nil) }}
		}
	}
	return all
}

// accept is asked about each value that a server is about to be shown.
func (s *Sidecar) accept(name, value string) error {
	if err := s.refuseInbound(value); err != nil {
		return err
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("holds a control character")
	}
	s.own.learn(name, value)
	return nil
}

// refuseInbound refuses a token that a caller presents in the place of a credential
// of the sidecar's: by it the caller's token would travel on after all.
func (s *Sidecar) refuseInbound(value string) error {
	static := s.verifiers != nil && s.verifiers.Static != nil && s.verifiers.Static.Knows(value)
	if static || value == s.callerToken() {
		return errors.New("is a token that callers present; the server needs one of the sidecar's")
	}
	return nil
}

// refuseStatic asks again about what was read before it was known which tokens
// callers present.
func (s *Sidecar) refuseStatic() error {
	for name, stored := range s.stored {
		if s.cfg.Upstreams[name].Credential.Exec != nil {
			continue // has not been run, and is asked about when it is
		}
		value, err := stored.Current(s.life, nil)
		if err == nil {
			err = s.refuseInbound(value.Reveal())
		}
		if err != nil {
			return fmt.Errorf("%w: upstreams.%s.credential: %w", ErrConfig, name, err)
		}
	}
	return nil
}

// commandEnv is what the operator's own commands get: everything but what belongs
// to the sidecar, the caller's token among it.
func commandEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		variable, _, _ := strings.Cut(entry, "=")
		return config.IsOwnVariable(variable)
	})
}

// asVariable is the entry of a child's environment that holds its credential.
func asVariable(variable string, stored *identity.Stored) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c, err := stored.Current(ctx, nil)
		return variable + "=" + c.Reveal(), err
	}
}
