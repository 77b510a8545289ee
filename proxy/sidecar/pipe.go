package sidecar

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"

	"mcp-sidecar/proxy/front"
	"mcp-sidecar/proxy/identity"
)

// ServerEnded says that the server that ServePipe was in front of has ended by
// itself, with Code.
type ServerEnded struct{ Code int }

func (e *ServerEnded) Error() string { return fmt.Sprintf("the server has ended with code %d", e.Code) }

// ServePipe answers one client on in and out until it is done, ctx ends, or the
// server that the sidecar starts ends by itself: then the error is a *ServerEnded.
// When the server cannot be started it wraps exec.ErrNotFound or fs.ErrPermission.
// ServePipe takes the place of Listen and Serve, and needs exactly one upstream, or
// several that are merged: then the end of one is no more than that.
func (s *Sidecar) ServePipe(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := s.listenForEgress(); err != nil {
		return err
	}
	e := s.endpoints[0]
	c, ok := e.upstream.(*child)
	if !ok {
		return s.pipe(e).Serve(ctx, in, out)
	}
	err := c.Ready(ctx)
	if err == nil {
		err = c.during(ctx, func(ctx context.Context) error { return s.pipe(e).Serve(ctx, in, out) })
	}
	if err != nil {
		return fmt.Errorf("upstreams.%s: %w", e.name, err)
	}
	return nil
}

// during runs serve, which ends with the child, as its client would see it without
// the sidecar in between. The child's end is the error then.
func (c *child) during(ctx context.Context, serve func(context.Context) error) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	end := make(chan error, 1)
	go func() {
		defer leave()
		select {
		case <-c.Done():
			code, _ := c.Exit()
			end <- &ServerEnded{code}
		case err := <-c.failed:
			end <- err
		case <-ctx.Done():
			end <- nil
		}
	}()
	err := serve(ctx)
	leave()
	return cmp.Or(<-end, err)
}

func (s *Sidecar) pipe(e *endpoint) *front.Stdio {
	limits := s.cfg.Limits
	return front.NewStdio(front.StdioOptions{
		Handle:        e.pipeline.Handle,
		MaxMessage:    int(limits.RequestBody),
		Concurrent:    4 * limits.ConcurrentCallsPerPrincipal, // a pipe may carry several principals
		Authenticated: s.cfg.Auth != nil,
		Token:         s.callerToken,
	})
}

// callerToken is empty when its file cannot be read: the caller then has none.
func (s *Sidecar) callerToken() string {
	if s.opts.TokenFile == "" {
		return s.opts.Token.Reveal()
	}
	token, err := identity.ReadSecretFile(s.opts.TokenFile)
	if err != nil {
		s.log.Warn("the caller's token cannot be read", "error", err)
	}
	s.own.learn("the caller's token", token)
	return token
}

// anyone is who callers are where nobody is authenticated.
func (s *Sidecar) anyone() identity.Principal {
	if s.cfg.Local {
		return localUser()
	}
	return identity.Anonymous()
}

// localUser is the user whom the sidecar runs as.
func localUser() identity.Principal {
	if uid := os.Getuid(); uid >= 0 {
		return identity.Local(strconv.Itoa(uid))
	}
	if u, err := user.Current(); err == nil {
		return identity.Local(u.Uid) // Windows
	}
	return identity.Local("unknown")
}
