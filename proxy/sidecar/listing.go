package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/pipeline"
	"mcp-sidecar/proxy/wire"
)

// ListTools asks a server of cfg, which must be valid, for its tools, the way the
// sidecar would reach it and with its own credential. It returns the definitions as
// the server wrote them. stderr receives what a server that is started says.
func ListTools(ctx context.Context, cfg *config.Config, name string, stderr io.Writer) (tools []json.RawMessage, err error) {
	err = visit(ctx, cfg, name, stderr, func(l *lister) error {
		tools, err = l.list(ctx, "tools/list", "tools")
		return err
	})
	return tools, err
}

// Offer is everything that a server tells its clients before they call anything, as it
// wrote it.
type Offer struct {
	About                                json.RawMessage // its answer to initialize or server/discover
	Tools, Prompts, Resources, Templates []json.RawMessage
}

// Offered asks like ListTools, for everything. What the server has no method for it does
// not have.
func Offered(ctx context.Context, cfg *config.Config, name string, stderr io.Writer) (o Offer, err error) {
	err = visit(ctx, cfg, name, stderr, func(l *lister) error {
		if l.about == nil {
			a, err := l.request(ctx, "server/discover", "")
			if err != nil {
				return err
			}
			l.about = a.result()
		}
		o.About = l.about
		for _, part := range []struct {
			method, member string
			into           *[]json.RawMessage
		}{
			{"tools/list", "tools", &o.Tools}, {"prompts/list", "prompts", &o.Prompts},
			{"resources/list", "resources", &o.Resources}, {"resources/templates/list", "resourceTemplates", &o.Templates},
		} {
			*part.into, err = l.list(ctx, part.method, part.member)
			if err != nil && !errors.Is(err, errNoMethod) {
				return err
			}
		}
		return nil
	})
	return o, err
}

// visit makes f a client of a server for a while.
func visit(ctx context.Context, cfg *config.Config, name string, stderr io.Writer, f func(*lister) error) (err error) {
	s := &Sidecar{cfg: cfg, opts: Options{Now: time.Now, Stderr: stderr}, log: slog.New(slog.NewJSONHandler(stderr, nil))}
	s.life, s.end = context.WithCancel(ctx)
	defer s.end()
	if err := s.learnSecrets(); err != nil {
		return err
	}
	server, err := s.buildBackend(name, cfg.Upstreams[name])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	l := &lister{server: server, limits: s.pipelineLimits()}
	if err := l.open(ctx); err != nil {
		return err
	}
	err = f(l)
	if l.session != "" {
		_ = l.server.Do(ctx, wire.Exchange{Verb: wire.End, Version: l.version, Session: l.session}, &listed{})
	}
	return err
}

// lister is a client that wants to know one thing.
type lister struct {
	server  upstream
	limits  pipeline.Limits
	version string // revision that the server chose; empty: the current one, without a session
	session string
	about   json.RawMessage // what the server answered to initialize
}

const aboutUs = `{"name":"mcp-sidecar","version":"1"}`

// open begins a session as the revisions with sessions want it. A server that does not
// know how is one of the current revision.
func (l *lister) open(ctx context.Context) error {
	revision := pipeline.LegacyRevisions()[0]
	a, err := l.ask(ctx, wire.Exchange{}, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"`+revision+`","capabilities":{},"clientInfo":`+aboutUs+`}}`)
	if err != nil || a.message.Err != wire.Absent {
		return err
	}
	l.version, l.session = a.message.Text(a.message.At(a.message.Result, "protocolVersion")), a.reply.Session
	if !slices.Contains(pipeline.LegacyRevisions(), l.version) {
		return fmt.Errorf("the server speaks revision %q, which the sidecar does not", l.version)
	}
	l.about = a.result()
	x := wire.Exchange{Version: l.version, Session: l.session, Body: []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)}
	return l.server.Do(ctx, x, &listed{})
}

// errNoMethod is a list that the server does not have.
var errNoMethod = errors.New("the server does not list that")

// codeNoMethod is JSON-RPC's "Method not found".
const codeNoMethod = "-32601"

// list follows the pages of a list.
func (l *lister) list(ctx context.Context, method, member string) (all []json.RawMessage, err error) {
	cursor := ""
	for range l.limits.Tools {
		a, err := l.request(ctx, method, cursor)
		if err != nil {
			return nil, err
		}
		m := a.message
		at := m.At(m.Result, member)
		if string(m.Value(m.At(m.Err, "code"))) == codeNoMethod {
			return nil, fmt.Errorf("%s: %w", method, errNoMethod)
		}
		if m.Err != wire.Absent || at == wire.Absent || m.Nodes[at].Kind != '[' {
			return nil, fmt.Errorf("the server does not list %s", member)
		}
		for t := range m.Children(at) {
			if len(all) == l.limits.Tools || len(m.Value(t)) > l.limits.ToolDefinition {
				return nil, errors.New("the server lists more than the limits allow")
			}
			all = append(all, bytes.Clone(m.Value(t)))
		}
		next := m.At(m.Result, "nextCursor")
		if m.Text(next) == "" {
			return all, nil
		}
		cursor = `"cursor":` + string(m.Value(next))
	}
	return nil, fmt.Errorf("the server lists its %s on too many pages", member)
}

// request asks in the revision that the server speaks.
func (l *lister) request(ctx context.Context, method, params string) (*listed, error) {
	x := wire.Exchange{Own: true, Version: l.version, Session: l.session}
	meta := ""
	if l.version == "" {
		x.Version, x.Method = modernRevision, method
		meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modernRevision + `","io.modelcontextprotocol/clientInfo":` + aboutUs + `,"io.modelcontextprotocol/clientCapabilities":{}}`
	}
	return l.ask(ctx, x, `{"jsonrpc":"2.0","id":2,"method":"`+method+`","params":{`+join(params, meta)+`}}`)
}

// modernRevision is the revision without sessions.
const modernRevision = "2026-07-28"

func join(members ...string) (all string) {
	for _, m := range members {
		if all != "" && m != "" {
			all += ","
		}
		all += m
	}
	return all
}

func (l *lister) ask(ctx context.Context, x wire.Exchange, request string) (*listed, error) {
	x.Call, x.Body = true, []byte(request)
	a := &listed{limits: l.limits.Answer}
	if err := l.server.Do(ctx, x, a); err != nil {
		return nil, err
	}
	if a.message == nil {
		return nil, fmt.Errorf("the server answers HTTP %d without a message", a.reply.Status)
	}
	return a, nil
}

// listed takes one answer.
type listed struct {
	limits  wire.Limits
	reply   wire.Reply
	message *wire.Message
}

// result is a copy of what was answered; nil is an error.
func (a *listed) result() json.RawMessage {
	return bytes.Clone(a.message.Value(a.message.Result))
}

// Reply implements [wire.Sink].
func (a *listed) Reply(r wire.Reply) error {
	a.reply = r
	switch r.Status {
	case 401, 403, 407:
		return fmt.Errorf("the server wants a credential of the sidecar's (HTTP %d)", r.Status)
	}
	return nil
}

// Message implements [wire.Sink]. What is no response to the one question is dropped.
func (a *listed) Message(ev wire.Event) error {
	if len(ev.Data) == 0 {
		return nil
	}
	m, err := wire.Scan(ev.Data, a.limits)
	if err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	if m.Kind != wire.Response {
		return nil
	}
	a.message = m
	return wire.ErrDone
}
