package main

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// compareEras connects a client of the newest revision to a server that knows
// none but the older ones: it falls back by itself, as it does directly.
func (b *bench) compareEras(ctx context.Context) error {
	s := everythingServer
	var wrong int
	for _, p := range pairs {
		dir, env, err := b.room()
		if err != nil {
			return err
		}
		if err := b.fallBack(ctx, s, p, dir, env); err != nil {
			fmt.Printf("    REGRESSION %s, %s, a client of the newest revision: %v\n", s.name, p, err)
			wrong++
		}
	}
	fmt.Printf("%-20s a client of the newest revision falls back over %d pairs of transports, %d times not\n", s.name, len(pairs), wrong)
	if wrong > 0 {
		return fmt.Errorf("%w: %d fall-backs", errRegression, wrong)
	}
	return nil
}

func (b *bench) fallBack(ctx context.Context, s npmServer, p pair, dir string, env []string) error {
	r, err := b.route(ctx, s, p, "balanced", dir, env)
	if err != nil {
		return err
	}
	defer r.stop()
	if r.url != "" {
		return fallsBack(ctx, &mcp.StreamableClientTransport{Endpoint: r.url})
	}
	c := exec.CommandContext(ctx, r.command[0], r.command[1:]...)
	c.Env = r.env
	return fallsBack(ctx, &mcp.CommandTransport{Command: c})
}

func fallsBack(ctx context.Context, t mcp.Transport) error {
	ctx, cancel := context.WithTimeout(ctx, patienceOfStep)
	defer cancel()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "conformance", Version: "1"}, nil).Connect(ctx, t, nil)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	if got := session.InitializeResult().ProtocolVersion; got != legacyRevision {
		return fmt.Errorf("revision %s", got)
	}
	res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"message": "hello"}})
	if err != nil {
		return err
	}
	if text, ok := res.Content[0].(*mcp.TextContent); !ok || text.Text != "Echo: hello" {
		return fmt.Errorf("echo says %+v", res.Content[0])
	}
	return nil
}
