package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"mcp-sidecar/proxy/backend"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/wire"
)

// buildChild makes the way to a server that the sidecar starts.
func (s *Sidecar) buildChild(name string, u config.Upstream) (upstream, error) {
	env, err := s.childEnv(name, u)
	if err != nil {
		return nil, err
	}
	var key keyLines
	processes, err := backend.NewStdio(backend.StdioOptions{
		Command: u.Command, Env: env, Shared: u.Shared,
		MaxResult: int(s.cfg.Limits.Result), IdleTimeout: time.Duration(s.cfg.Limits.CallIdleTimeout),
		Stderr: func(line string) {
			if !key.hold(line) {
				_, _ = fmt.Fprintf(s.opts.Stderr, "[%s] %s\n", name, s.scrub(line))
			}
		},
		Log: s.log.With("upstream", name),
	})
	if err != nil {
		return nil, fmt.Errorf("upstreams.%s: %w", name, err)
	}
	return &child{Stdio: processes, failed: make(chan error, 1)}, nil
}

// child is a server that the sidecar starts.
type child struct {
	*backend.Stdio
	failed chan error // why it could not be started
}

// Do implements [pipeline.Upstream].
func (c *child) Do(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
	err := c.Stdio.Do(ctx, x, sink)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrPermission) {
		select {
		case c.failed <- err:
		default: // it is known already
		}
	}
	return err
}

// childEnv is the whole environment of a child. Nothing of the sidecar's own
// credentials is in it, except the one that is meant for it.
func (s *Sidecar) childEnv(name string, u config.Upstream) ([]string, error) {
	var env []string
	own := ""
	if u.Credential.Kind == config.CredentialEnv {
		secret, err := s.readSecret(u.Credential.File)
		if err != nil {
			return nil, err
		}
		own = u.Credential.Variable
		env = append(env, own+"="+secret)
	}
	if u.EnvAllow == nil && s.cfg.Local {
		// Whoever starts a server through us has put its settings and keys here.
		for _, entry := range os.Environ() {
			if variable, value, _ := strings.Cut(entry, "="); variable != own && !config.IsOwnVariable(variable) && !s.holdsSecret(value) {
				env = append(env, entry)
			}
		}
		return env, nil
	}
	for _, variable := range u.EnvAllow {
		value, set := os.LookupEnv(variable)
		if s.holdsSecret(value) {
			return nil, fmt.Errorf("%w: upstreams.%s.env_allow: %s holds a credential of the sidecar's own", ErrConfig, name, variable)
		}
		if set {
			env = append(env, variable+"="+value)
		}
	}
	return env, nil
}

// shortestSecret is the length below which a credential is too short to be told
// from ordinary words, in bytes.
const shortestSecret = 8

// holdsSecret says whether text contains a credential that the sidecar has read.
func (s *Sidecar) holdsSecret(text string) bool {
	for _, secret := range s.secrets {
		if text == secret || len(secret) >= shortestSecret && strings.Contains(text, secret) {
			return true
		}
	}
	return false
}

// scrub removes secrets from what a child says, those that it was given included.
func (s *Sidecar) scrub(text string) string {
	for _, secret := range s.secrets {
		if len(secret) >= shortestSecret {
			text = strings.ReplaceAll(text, secret, "[REDACTED:credential]")
		}
	}
	return redact(text)
}

// keyLines finds the lines of a private key in PEM behind the first, which alone can
// be told to belong to one. The first is redacted; these are left out.
type keyLines struct{ left int } // how many may follow

// maxKeyLines is more than the key of a certificate has.
const maxKeyLines = 256

var (
	keyBegins = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z0-9 ]*-----\s*$`)
	keyLine   = regexp.MustCompile(`^(\s|\\t)*([A-Za-z0-9+/=]*|(Proc-Type|DEK-Info|Version|Comment|Hash): .*)\s*$`)
)

// hold says whether line, which comes after those of earlier calls, is of a key.
func (k *keyLines) hold(line string) bool {
	switch {
	case keyBegins.MatchString(line):
		k.left = maxKeyLines
		return false
	case k.left > 0 && strings.Contains(line, "-----END "):
		k.left = 0
		return true
	case k.left > 0 && keyLine.MatchString(line):
		k.left--
		return true
	}
	k.left = 0
	return false
}

// learnSecrets reads every credential once, so that none is handed to a child or
// printed by one, whichever part of the sidecar it belongs to.
func (s *Sidecar) learnSecrets() error {
	if s.opts.TokenFile != "" {
		if _, err := oneLine(s.opts.TokenFile); err != nil {
			return fmt.Errorf("%w: the caller's token: %w", ErrConfig, err)
		}
	}
	if token := s.callerToken(); token != "" {
		s.secrets = append(s.secrets, token)
	}
	for _, file := range s.secretFiles() {
		secret, err := s.readSecret(file)
		if err != nil {
			return err
		}
		s.secrets = append(s.secrets, secret)
	}
	return s.refusePassthrough()
}

// refusePassthrough refuses a credential for a server that is the caller's own: by
// it the caller's token would travel on after all.
func (s *Sidecar) refusePassthrough() error {
	token := s.callerToken()
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Upstreams)) {
		file := s.cfg.Upstreams[name].Credential.File
		if token == "" || file == "" {
			continue
		}
		switch secret, err := s.readSecret(file); {
		case err != nil:
			return err
		case secret == token:
			return fmt.Errorf("%w: upstreams.%s.credential: is the caller's own token; the server needs one of the sidecar's", ErrConfig, name)
		}
	}
	return nil
}

func (s *Sidecar) secretFiles() []string {
	files := append(slices.Clone(s.cfg.Unused), s.cfg.SealKeyFile)
	if s.cfg.Auth != nil {
		for _, i := range s.cfg.Auth.Introspection {
			files = append(files, i.ClientSecretFile)
		}
	}
	for _, u := range s.cfg.Upstreams {
		files = append(files, u.Credential.File)
	}
	return slices.DeleteFunc(files, func(name string) bool { return name == "" })
}
