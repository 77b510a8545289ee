// Command conformance shows that nothing breaks behind mcp-sidecar: it runs
// the official conformance suite and real npm servers once directly and once
// through the sidecar, and compares.
//
//	go run ./.ci/conformance                              everything
//	go run ./.ci/conformance -only suite                  the official suite
//	go run ./.ci/conformance -only suite -revision 2025-11-25 -upstream stdio
//	go run ./.ci/conformance -only servers                the npm reference servers
//	go run ./.ci/conformance -v                           also what every program said
//
// The suite is compared check by check, never by count: against a server that
// is not there it still scores a hundred passes. A check that passes directly
// and not through the sidecar is tried once more alone, on a fresh server,
// because the machine may be busy; what fails again is a regression. Every run
// ends with the comparison against a dead address, which must find regressions.
//
// Node 22 is taken from PATH or, like everything else of npm, installed in the
// versions of npm/package-lock.json into a cache folder. Exit codes: 0 nothing
// broke · 1 failure of this program · 2 usage · 4 Node or npm cannot be had ·
// 5 something works directly and not through the sidecar.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitFailure    = 1
	exitUsage      = 2
	exitDependency = 4
	exitRegression = 5
)

// patience bounds the whole run.
const patience = 20 * time.Minute

var (
	errDependency = errors.New("dependency")
	errRegression = errors.New("regression")
)

// options are the command line.
type options struct {
	only, revision, upstream string
	verbose                  bool
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		cancel()
		os.Exit(exitCode(err))
	}
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, errRegression):
		return exitRegression
	case errors.Is(err, errDependency):
		return exitDependency
	default:
		return exitFailure
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("conformance", flag.ContinueOnError)
	f.StringVar(&o.only, "only", "", "suite or servers")
	f.StringVar(&o.revision, "revision", "", "run the suite in this `REVISION` only")
	f.StringVar(&o.upstream, "upstream", "", "run the suite with this upstream only: http or stdio")
	f.BoolVar(&o.verbose, "v", false, "print what the programs write to stderr")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.only != "" && o.only != "suite" && o.only != "servers":
		return o, fmt.Errorf("-only %q: it is suite or servers", o.only)
	case o.upstream != "" && o.upstream != "http" && o.upstream != "stdio":
		return o, fmt.Errorf("-upstream %q: it is http or stdio", o.upstream)
	case o.revision != "" && !knownRevision(o.revision):
		return o, fmt.Errorf("-revision %q is none of the suite's", o.revision)
	}
	return o, nil
}

// bench is what every comparison needs: the programs, and a folder of its own.
type bench struct {
	tools
	sidecar    string // the program under test
	everything string // the SDK's own conformance server
	dir        string // removed at the end
	port       string // where npm servers listen
	verbose    bool
}

func run(ctx context.Context, o options) error {
	b, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	var broken []error
	if o.only != "servers" {
		broken = append(broken, b.compareSuite(ctx, o))
	}
	if o.only != "suite" {
		broken = append(broken, b.compareServers(ctx))
	}
	return errors.Join(append(broken, ctx.Err())...)
}

func prepare(ctx context.Context, o options) (*bench, error) {
	t, err := findTools(ctx)
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		return nil, err
	}
	b := &bench{tools: t, dir: dir, port: port, verbose: o.verbose, sidecar: filepath.Join(dir, "mcp-sidecar"), everything: filepath.Join(dir, "everything-server")}
	for program, pkg := range map[string]string{
		b.sidecar: "mcp-sidecar/proxy",
		// In the version of go.mod: the sidecar's tests use the same SDK.
		b.everything: "github.com/modelcontextprotocol/go-sdk/conformance/everything-server",
	} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, pkg).CombinedOutput(); err != nil {
			_ = os.RemoveAll(dir)
			return nil, fmt.Errorf("go build %s: %w\n%s", pkg, err, strings.TrimSpace(string(out)))
		}
	}
	return b, nil
}
