package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
)

// options are the command line.
type options struct {
	only      []string
	json      bool
	transport string
	revision  string
	direct    string // URL, empty starts a server
	proxied   string // URL, empty starts the sidecar and its server
	issuer    string
	fakes     string
	bin       string
	work      string
	prepare   bool
	keep      bool
	postgres  bool // documents and policy are in a database
}

// revisions are those that the demo can speak, the default first.
var revisions = []string{"2026-07-28", "2025-11-25"}

// Transports.
const (
	overHTTP  = "http"
	overStdio = "stdio"
)

// anyPort lets the system choose a loopback port.
const anyPort = "127.0.0.1:0"

// parseOptions prints the help to stdout and returns flag.ErrHelp if asked to.
func parseOptions(args []string, stdout io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("scenarios", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by run
	fs.Func("only", "run only the scenario `NAME`; repeat it or separate names by commas: "+strings.Join(names(), ", "), func(v string) error {
		o.only = append(o.only, strings.Split(v, ",")...)
		return nil
	})
	fs.BoolVar(&o.json, "json", false, "print one JSON document at the end in place of the text")
	fs.StringVar(&o.transport, "transport", overHTTP, "`HOW` the clients connect: http, or stdio with all users on one pipe; what only HTTP has, such as headers, goes over HTTP all the same")
	fs.StringVar(&o.revision, "revision", revisions[0], "MCP `REVISION` of the clients: "+strings.Join(revisions, ", "))
	fs.StringVar(&o.direct, "direct", "", "use the naive server at `URL` that runs already")
	fs.StringVar(&o.proxied, "proxied", "", "use the sidecar at `URL` that runs already")
	fs.StringVar(&o.issuer, "issuer", anyPort, "`HOST:PORT` of the demo's issuer")
	fs.StringVar(&o.fakes, "fakes", anyPort, "`HOST:PORT` of the fakes of all outside hosts")
	fs.StringVar(&o.work, "work", "", "keep files in `DIR` and use again the secrets that it holds (default: a temporary folder)")
	fs.BoolVar(&o.prepare, "prepare", false, "only write the files that servers started by hand need into --work")
	fs.StringVar(&o.bin, "bin", "", "`DIR` with docserver and mcp-sidecar (default: next to this program)")
	fs.BoolVar(&o.postgres, "postgres", false, "keep documents and policy in a private PostgreSQL server, from the binaries of this machine")
	fs.BoolVar(&o.keep, "keep", false, "do not remove the temporary folder")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		printHelp(stdout, fs)
		return o, err
	case err != nil:
		return o, coded(exitUsage, fmt.Errorf("%w; see scenarios --help", err))
	case fs.NArg() > 0:
		return o, coded(exitUsage, fmt.Errorf("unexpected argument %q; see scenarios --help", fs.Arg(0)))
	}
	return o, coded(exitUsage, o.check())
}

// printHelp exists because the flag package prints long names with one dash.
func printHelp(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprint(w, `scenarios attacks a naive MCP server, once directly and once through mcp-sidecar.

Usage: scenarios [flags]
       scenarios issuer [flags]   only the demo's authorization server, for local trials

Each line of the output is a call through the sidecar. Below it stands what the
same request did on the naive server, and what was measured on both sides.
Everything it needs is started on loopback, with fakes for all outside hosts.
Servers given by URL need the hosts map that --prepare writes: without it, the
ssrf scenario makes them call real addresses.

`)
	fs.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %-22s %s\n", "--"+f.Name+" "+value, text)
	})
	fmt.Fprintf(w, "  %-22s %s\n", "-h, --help", "print this text")
	fmt.Fprint(w, "\nExit codes: 0 as expected, 1 runtime failure, 2 usage, 4 a given server is down or there is no PostgreSQL,\n5 not as expected, 7 address in use.\n")
}

func (o options) check() error {
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("--only %q: no such scenario (%s)", name, strings.Join(names(), ", "))
		}
	}
	switch {
	case o.transport != overHTTP && o.transport != overStdio:
		return fmt.Errorf("--transport %q: want http or stdio", o.transport)
	case o.transport == overStdio && (o.direct != "" || o.proxied != "" || o.prepare):
		return errors.New("--transport stdio starts its servers itself: it excludes --direct, --proxied and --prepare")
	case o.postgres && (o.transport != overHTTP || o.direct != "" || o.proxied != ""):
		return errors.New("--postgres starts its servers itself, over HTTP: it excludes --transport stdio, --direct, --proxied and --prepare")
	case !slices.Contains(revisions, o.revision):
		return fmt.Errorf("--revision %q: want one of %s", o.revision, strings.Join(revisions, ", "))
	case o.prepare && (o.work == "" || o.issuer == anyPort || o.fakes == anyPort || o.direct == "" || o.proxied == ""):
		return errors.New("--prepare needs --work, --issuer, --fakes, --direct and --proxied")
	}
	return errors.Join(
		checkURL("--direct", o.direct), checkURL("--proxied", o.proxied),
		checkLoopback("--issuer", o.issuer), checkLoopback("--fakes", o.fakes),
	)
}

func checkURL(name, text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%s %q: want a URL such as http://127.0.0.1:8811/mcp", name, text)
	}
	return nil
}

// checkLoopback refuses to offer a lax issuer and fake hosts to the network.
func checkLoopback(name, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s %q: want HOST:PORT", name, address)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%s %q: want a loopback address", name, address)
	}
	return nil
}

// chosen returns the scenarios to run, in their own order.
func (o options) chosen() []scenario {
	if len(o.only) == 0 {
		return scenarios()
	}
	return slices.DeleteFunc(scenarios(), func(s scenario) bool { return !slices.Contains(o.only, s.name) })
}

// needs reports whether a chosen trial is one of those.
func (o options) needs(those func(trial) bool) bool {
	return slices.ContainsFunc(o.chosen(), func(s scenario) bool { return slices.ContainsFunc(s.trials, those) })
}

func names() []string {
	var all []string
	for _, s := range scenarios() {
		all = append(all, s.name)
	}
	return all
}
