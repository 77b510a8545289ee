// Command mcp-sidecar is a security proxy that stands in front of an MCP server.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"mcp-sidecar/proxy/cli"
)

func main() {
	collectSeldom()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
