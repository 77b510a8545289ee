package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
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
	o := backend.StdioOptions{
		Command: u.Command, Env: env, Shared: u.Shared,
		MaxResult: int(s.cfg.Limits.Result), IdleTimeout: time.Duration(s.cfg.Limits.CallIdleTimeout),
		Stderr: func(line string) {
			if !key.hold(line) {
				_, _ = fmt.Fprintf(s.opts.Stderr, "[%s] %s\n", name, s.redactChild(line))
			}
		},
		Attend: s.grantEgress(name),
		Log:    s.log.With("upstream", name),
	}
	if u.Credential.Kind == config.CredentialEnv {
		o.Credential = asVariable(u.Credential.Variable, s.stored[name])
	}
	processes, err := backend.NewStdio(o)
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

// childEnv is the environment of a child but for its credential. Nothing of the
// sidecar's own credentials is in it.
func (s *Sidecar) childEnv(name string, u config.Upstream) ([]string, error) {
	var env []string
	if u.EnvAllow == nil && s.cfg.Local {
		// Whoever starts a server through us has put its settings and keys here.
		for _, entry := range os.Environ() {
			if variable, value, _ := strings.Cut(entry, "="); variable != u.Credential.Variable && variable != u.Credential.ValueEnv && !config.IsOwnVariable(variable) && !s.own.holds(value) {
				env = append(env, entry)
			}
		}
		return env, nil
	}
	for _, variable := range u.EnvAllow {
		value, set := os.LookupEnv(variable)
		if s.own.holds(value) {
			return nil, fmt.Errorf("%w: upstreams.%s.env_allow: %s holds a credential of the sidecar's own", ErrConfig, name, variable)
		}
		if set {
			env = append(env, variable+"="+value)
		}
	}
	return env, nil
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
