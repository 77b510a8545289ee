package sidecar

import (
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

// process is an upstream that the sidecar starts itself.
type process interface {
	// Done is closed when the process has ended by itself.
	Done() <-chan struct{}
	// Exit returns the code with which it did.
	Exit() (code int, ok bool)
}

// ServePipe answers one client on in and out until it is done, ctx ends, or the
// server that the sidecar started ends by itself: then the error is a
// *ServerEnded. It takes the place of Listen and Serve, and needs exactly one
// upstream.
func (s *Sidecar) ServePipe(ctx context.Context, in io.Reader, out io.Writer) error {
	e := s.endpoints[0]
	child, ok := e.upstream.(process)
	if !ok {
		return s.pipe(e).Serve(ctx, in, out)
	}
	if err := e.upstream.Ready(ctx); err != nil {
		return fmt.Errorf("upstreams.%s: %w", e.name, err)
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-child.Done():
			leave() // as the client would see it without us in between
		case <-ctx.Done():
		}
	}()
	err := s.pipe(e).Serve(ctx, in, out)
	leave()
	<-gone
	select {
	case <-child.Done():
		code, _ := child.Exit()
		return &ServerEnded{code}
	default:
		return err
	}
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
	token, err := oneLine(s.opts.TokenFile)
	if err != nil {
		s.log.Warn("the caller's token cannot be read", "error", err)
	}
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
