package main

import (
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"

	"mcp-sidecar/upstream/docserver"
)

// inputError is what the user has to correct.
type inputError struct {
	code int // exit code
	err  error
}

func (e *inputError) Error() string { return e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// flags are the command line as written.
type flags struct {
	listen       string
	stdio        bool
	serviceToken string // file
	exec         string
	scratch      string
	hosts        string // file
	ca           string // file
	egressProxy  string
	reset        bool
}

// parseFlags prints the help to stdout and returns flag.ErrHelp if asked to.
func parseFlags(args []string, stdout io.Writer) (flags, error) {
	var f flags
	fs := flag.NewFlagSet("docserver", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by run
	fs.StringVar(&f.listen, "listen", "127.0.0.1:9001", "serve MCP at `HOST:PORT`; port 0 takes a free one")
	fs.BoolVar(&f.stdio, "stdio", false, "serve the program that started this one, over stdin and stdout, in place of --listen")
	fs.StringVar(&f.serviceToken, "service-token-file", "", "answer only requests with the bearer token in `FILE`; with --stdio it must stand in "+serviceToken)
	fs.StringVar(&f.exec, "exec", string(docserver.Shell), "start wc through a shell or with argv only; `HOW` is shell (vulnerable) or argv (safe)")
	fs.StringVar(&f.scratch, "scratch", "", "`DIR` is HOME and working directory of the shell; must hold canary.txt; needed with --exec=shell")
	fs.StringVar(&f.hosts, "hosts", "", "`FILE` with lines \"host:port loopback-address:port\"; nothing else is dialed")
	fs.StringVar(&f.ca, "ca-file", "", "PEM `FILE` with further root certificates for https")
	fs.StringVar(&f.egressProxy, "egress-proxy", "", "fetch through the HTTP proxy at `URL`; env takes that of HTTPS_PROXY, which the sidecar gives to servers that it starts")
	fs.BoolVar(&f.reset, "reset", false, "start without documents, at id 1 (always so without DATABASE_URL)")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		printHelp(stdout, fs)
		return f, err
	case err != nil:
		return f, usage("%w; see docserver --help", err)
	case fs.NArg() > 0:
		return f, usage("unexpected argument %q; see docserver --help", fs.Arg(0))
	}
	return f, f.check()
}

// printHelp exists because the flag package prints long names with one dash.
func printHelp(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprint(w, "docserver is an MCP document server that is vulnerable on purpose. Do not expose it.\n\nUsage: docserver [flags]\n\n")
	fs.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %-28s %s\n", "--"+f.Name+" "+value, text)
	})
	fmt.Fprintf(w, "  %-28s %s\n", "-h, --help", "print this text")
	fmt.Fprint(w, "\nDocuments are kept in memory, or in the PostgreSQL database at DATABASE_URL.\n")
}

func usage(format string, args ...any) error {
	return &inputError{exitUsage, fmt.Errorf(format, args...)}
}

func (f flags) check() error {
	host, _, err := net.SplitHostPort(f.listen)
	if err != nil {
		return usage("--listen %q is not HOST:PORT", f.listen)
	}
	if f.exec != string(docserver.Shell) && f.exec != string(docserver.Argv) {
		return usage("--exec is %q, want shell or argv", f.exec)
	}
	// The shell hole is command execution for whoever reaches the port.
	if f.exec == string(docserver.Shell) && f.serviceToken == "" && !loopback(host) && !f.stdio {
		return usage("--exec=shell without a service token would let the network run commands here: " +
			"listen on 127.0.0.1, or give --service-token-file, or use --exec=argv")
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// options reads the files that the flags name.
func (f flags) options() (docserver.Options, error) {
	o := docserver.Options{Exec: docserver.Exec(f.exec), Scratch: f.scratch}
	var err error
	if o.EgressProxy, err = parseProxy(f.egressProxy); err != nil {
		return o, err
	}
	if o.ServiceToken, err = readToken(f.serviceToken); err != nil {
		return o, badFile("--service-token-file", err)
	}
	if o.Hosts, err = readHosts(f.hosts); err != nil {
		return o, badFile("--hosts", err)
	}
	if o.RootCAs, err = readRoots(f.ca); err != nil {
		return o, badFile("--ca-file", err)
	}
	return o, nil
}

func badFile(name string, err error) error {
	return &inputError{exitConfig, fmt.Errorf("%s: %w", name, err)}
}

// parseProxy quotes nothing of the URL: it may hold a password.
func parseProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	if text == "env" {
		if text = os.Getenv("HTTPS_PROXY"); text == "" {
			return nil, usage("--egress-proxy env: HTTPS_PROXY is not set; to fetch without a proxy, leave the flag out")
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" {
		return nil, usage("--egress-proxy is not of the form http://HOST:PORT")
	}
	return u, nil
}

// readToken refuses an empty token: it would let everybody in.
func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("%q must hold one token and nothing else", file)
	}
	return token, nil
}

func readHosts(file string) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hosts, err := docserver.ParseHosts(f)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", file, err)
	}
	return hosts, nil
}

// readRoots adds the certificates to those of the system.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%q holds no PEM certificate", file)
	}
	return roots, nil
}

func withNextStep(err error) error {
	if !errors.Is(err, docserver.ErrScratch) {
		return err
	}
	return fmt.Errorf("%w; --exec=shell needs --scratch with a folder of its own: "+
		"mkdir DIR && touch DIR/canary.txt, or use --exec=argv", err)
}
