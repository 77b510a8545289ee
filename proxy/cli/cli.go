// Package cli is the command line of mcp-sidecar: one file a command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes. Programs may rely on them.
const (
	ExitOK      = 0
	ExitFailure = 1 // something went wrong at run time
	ExitUsage   = 2 // the command line is wrong
	ExitConfig  = 3 // the configuration is wrong
	ExitDown    = 4 // something else is down, or not ready
	ExitUnmet   = 5 // an expectation is not met
	ExitDenied  = 6 // the verdict is deny
	ExitInUse   = 7 // the address is taken

	ExitNotExecutable = 126 // the wrapped command cannot be executed
	ExitNotFound      = 127 // the wrapped command does not exist
)

// exitError carries an exit code to Run. Those without an error have told their
// story.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

func exit(code int, err error) error { return &exitError{code, err} }

// Streams are where a command reads and writes. Data goes to Out, talk to Err.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run executes the command line args, without the program's name, until it is
// done or ctx ends, and returns the exit code.
func Run(ctx context.Context, args []string, io Streams) int {
	root := command(io)
	root.SetArgs(args)
	return report(io.Err, root.ExecuteContext(ctx))
}

// report tells a person what went wrong and returns the exit code.
func report(w io.Writer, err error) int {
	var e *exitError
	switch {
	case err == nil:
		return ExitOK
	case !errors.As(err, &e):
		// What cobra itself reports is a wrong command line.
		_, _ = fmt.Fprintf(w, "mcp-sidecar: %v\nRun 'mcp-sidecar --help' for the commands, or 'mcp-sidecar COMMAND --help' for one.\n", err)
		return ExitUsage
	case e.err != nil:
		_, _ = fmt.Fprintf(w, "mcp-sidecar: %s\n", strings.TrimRight(e.Error(), "\n"))
	}
	return e.code
}

func command(io Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "mcp-sidecar",
		Short: "A security proxy that stands in front of an MCP server",
		Long: `mcp-sidecar stands between MCP clients and an MCP server. It authenticates
callers, checks token scopes and roles, inspects what goes in and what comes
out, records every decision, and talks to the server with its own credential.

In front of a server on this host, without a configuration file:
  mcp-sidecar serve --upstream http://127.0.0.1:3001/mcp --listen 127.0.0.1:8811 --insecure-no-auth

Around a server that a client starts:
  mcp-sidecar wrap -- npx -y @modelcontextprotocol/server-filesystem /srv/docs

With everything on:
  mcp-sidecar validate sidecar.yaml
  mcp-sidecar serve -c sidecar.yaml

Exit codes: 0 ok, 1 runtime failure, 2 usage, 3 configuration invalid,
4 not ready, 5 expectation failed, 6 denied, 7 address in use, 126 and 127 wrapped command not executable or not
found, otherwise wrap returns the server's own.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args:              cobra.NoArgs,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetIn(io.In)
	root.SetOut(io.Out)
	root.SetErr(io.Err)
	root.AddCommand(serveCommand(io), wrapCommand(io), validateCommand(io), schemaCommand(io), versionCommand(io), healthcheckCommand(io), tokenCommand(io), initCommand(io), policyCommand(io), checkCommand(io), explainCommand(io), scanCommand(io))
	return root
}
