// Bench measures what the sidecar costs: processor time, latency and throughput
// of a tool call that passes it with every check and guard on, next to the same
// call through a plain [net/http/httputil.ReverseProxy] (the floor: no proxy in
// Go that speaks HTTP does less) and to the call without any proxy.
//
//	bench                         # everything, five minutes or so
//	bench --quick                 # less of it, less exact
//	bench --sizes 10k --concurrency 8 --calls 5000
//	bench --json > bench.json
//	bench --write docs/performance.md
//
// Everything is real and on loopback: the upstream, the floor, the token issuer
// and the sidecar are processes of their own, and each call is an HTTP request
// on a persistent connection whose answer is compared byte for byte. Machines
// differ and are busy, so only ratios mean anything: the three paths take turns
// within each round, the order rotates, and a ratio is the median of the rounds'
// own ratios.
//
// The program ends with 1 when a call failed, and with 5 when a path did not
// send exactly one request to the upstream per call or a call left no audit
// record: a proxy that retries or asks twice makes such figures worthless.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK         = 0
	exitFailure    = 1
	exitUsage      = 2
	exitUnexpected = 5
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the program without its process: it returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	err := perform(ctx, args, s)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	fmt.Fprintf(s.err, "bench: %v\n", err)
	var c *codedError
	if errors.As(err, &c) {
		return c.code
	}
	return exitFailure
}

func perform(ctx context.Context, args []string, s streams) error {
	if len(args) > 0 && args[0] == roleCommand {
		return playRole(args[1:], s)
	}
	o, err := parseOptions(args, s.out)
	if err != nil {
		return err
	}
	rep, err := measure(ctx, o, s.err)
	if err != nil {
		return err
	}
	if err := rep.write(s.out, o.json); err != nil {
		return err
	}
	if err := rep.judge(); err != nil {
		return err
	}
	if o.write != "" {
		if err := os.WriteFile(o.write, []byte(rep.document(args)), 0o644); err != nil { //nolint:gosec // a document for everybody
			return err
		}
	}
	if o.strict {
		return coded(exitUnexpected, unmet(rep.Goals))
	}
	return nil
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
