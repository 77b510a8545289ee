// Scenarios shows what mcp-sidecar is for. It runs real attacks against a naive
// MCP server, each request once directly and once through the sidecar, prints
// both results, and measures what really happened: is the row gone, did the
// metadata service get a visit, did a client's credential reach the server?
//
//	scenarios                      # starts everything on loopback
//	scenarios --only ssrf,consent
//	scenarios --json
//	scenarios issuer               # only the demo's authorization server, for local trials
//
// All of it is real: the official SDK client, HTTP or stdio, separate processes, a
// shell that deletes a folder. Every outside host is a fake on loopback, and the
// document servers that the program starts dial nothing else. The table of
// scenarios is in scenarios.go, each scenario in a file of its own.
//
// The program ends with 5 when anything is not as expected: also when an attack
// stops working on the naive server, since a demo of that would prove nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes.
const (
	exitOK         = 0
	exitFailure    = 1
	exitUsage      = 2
	exitDependency = 4 // a server given by URL does not answer
	exitUnexpected = 5
	exitInUse      = 7
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if len(os.Args) > 1 && os.Args[1] == tapeCommand {
		os.Exit(recordStdio(ctx, os.Args[2:]))
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program without its process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	program := demo
	if len(args) > 0 && args[0] == issuerCommand {
		program, args = serveIssuer, args[1:]
	}
	err := program(ctx, args, stdout, stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	fmt.Fprintf(stderr, "scenarios: %v\n", err)
	return exitCode(err)
}

// codedError is an error with the exit code it leads to.
type codedError struct {
	code int
	error
}

func (e *codedError) Unwrap() error { return e.error }

// coded returns nil for a nil error.
func coded(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code, err}
}

func exitCode(err error) int {
	var c *codedError
	switch {
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, syscall.EADDRINUSE):
		return exitInUse
	default:
		return exitFailure
	}
}

func demo(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stdout)
	if err != nil {
		return err
	}
	if o.prepare {
		return prepare(o, stdout)
	}
	l, err := newLab(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer l.close()
	rep, err := l.runner().run(ctx, o.chosen(), shower(o, stdout))
	if err != nil {
		return fmt.Errorf("%w\n%s", err, l.tails())
	}
	if err := finish(o, rep, stdout); err != nil {
		return err
	}
	if leaks := l.leaks(rep); len(leaks) > 0 {
		return coded(exitUnexpected, fmt.Errorf("a client's credential is where none may be:\n%s", strings.Join(leaks, "\n")))
	}
	if !rep.OK {
		return coded(exitUnexpected, fmt.Errorf("%d not as expected\n%s", rep.Summary.Unexpected, l.tails()))
	}
	return nil
}

// shower prints each part of the text as soon as it is there; JSON waits for the
// end.
func shower(o options, stdout io.Writer) func(*report, *section) {
	if o.json {
		return func(*report, *section) {}
	}
	return func(rep *report, s *section) {
		if s == nil {
			renderTools(stdout, rep.Tools)
			return
		}
		renderSection(stdout, s)
	}
}

func finish(o options, rep *report, stdout io.Writer) error {
	rep.Transport, rep.Revision = o.transport, o.revision
	if o.json {
		return rep.writeJSON(stdout)
	}
	renderSummary(stdout, rep.Summary)
	return nil
}
