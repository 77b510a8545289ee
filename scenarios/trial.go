package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"mcp-sidecar/scenarios/issuer"
)

// issuerCommand is the first argument that makes the program a demo issuer for local
// trials, and nothing else.
const issuerCommand = "issuer"

// trialAddress is where the issuer answers unless told otherwise; sidecar.yaml looks
// for it there.
const trialAddress = "127.0.0.1:9000"

// serveIssuer lets the demo's users log in until ctx ends. It prints what a sidecar's
// configuration needs to believe its tokens.
func serveIssuer(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("scenarios issuer", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by run
	address := fs.String("listen", trialAddress, "loopback `HOST:PORT`")
	work := fs.String("work", "", "keep the introspection secret in `DIR` (default: a temporary folder)")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		printIssuerHelp(stdout, fs)
		return err
	case err != nil:
		return coded(exitUsage, fmt.Errorf("%w; see scenarios issuer --help", err))
	case fs.NArg() > 0:
		return coded(exitUsage, fmt.Errorf("unexpected argument %q; see scenarios issuer --help", fs.Arg(0)))
	}
	if err := checkLoopback("--listen", *address); err != nil {
		return coded(exitUsage, err)
	}
	f, err := newFolder(*work)
	if err != nil {
		return err
	}
	if *work == "" {
		defer func() { _ = os.RemoveAll(string(f)) }()
	}
	secret, err := f.secret(introspectFile)
	if err != nil {
		return err
	}
	ln, err := listen(ctx, *address)
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	config := issuer.Config{URL: "http://" + ln.Addr().String(), ClientID: introspectionClient, ClientSecret: secret, Users: map[string][]string{}}
	for _, row := range rows {
		config.Users[row.user] = scopes(row.may)
	}
	fmt.Fprintf(stdout, `# Demo issuer: a test tool. Whoever reaches it may log in as any of its users,
# alice, bob, carol and dave, without a password. For a sidecar on this machine:
auth:
  jwt:
    - issuer: %[1]s
      allow_loopback_http: true
# or, to have it asked about each token:
#  introspection:
#    - issuer: %[1]s
#      url: %[1]s/introspect
#      client_id: %[2]s
#      client_secret_file: %[3]s
#      allow_loopback_http: true
`, config.URL, config.ClientID, f.path(introspectFile))
	fmt.Fprintf(stderr, "scenarios: issuer %s, until interrupted\n", config.URL)
	return serveUntil(ctx, ln, issuer.New(config).Handler())
}

func printIssuerHelp(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprint(w, `scenarios issuer serves the demo's authorization server, for local trials.

It is a test tool: it asks for no password. MCP clients register themselves there
and send their users to its login page.

Usage: scenarios issuer [flags]

`)
	fs.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		if f.DefValue != "" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %-22s %s\n", "--"+f.Name+" "+value, text)
	})
}

// serveUntil answers on ln until ctx ends.
func serveUntil(ctx context.Context, ln net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
