// Command mcp-sidecar is a security proxy that stands in front of an MCP server.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"mcp-sidecar/proxy/cli"
)

// gcPercent trades memory for time. The live heap of a proxy is a few megabytes,
// and at the default the collector would run after every few hundred calls. GOGC
// in the environment is stronger.
const gcPercent = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
