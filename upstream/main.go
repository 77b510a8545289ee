// Docserver is the naive document server of the attack demo: an MCP server over
// streamable HTTP or stdio that is vulnerable on purpose. See package docserver for
// its holes, and do not expose it.
//
//	mkdir /tmp/scratch && touch /tmp/scratch/canary.txt
//	docserver --listen 127.0.0.1:9001 --scratch /tmp/scratch
//
// Once it accepts connections it prints one line to stdout, with the real port:
//
//	docserver listening on http://127.0.0.1:9001/mcp
//
// Documents are kept in memory, or in the PostgreSQL database at DATABASE_URL.
//
// With --stdio it serves the program that started it instead, and prints nothing
// but the protocol. What --service-token-file holds must then stand in
// DOCSERVER_SERVICE_TOKEN.
//
// SIGINT and SIGTERM let calls under way finish. Exit codes: 0 ok, 1 runtime
// failure, 2 usage, 3 bad or missing file or scratch folder, 4 database down, 7 address
// in use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"mcp-sidecar/upstream/docserver"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitConfig  = 3
	exitDown    = 4
	exitInUse   = 7
)

// stopTime is how long a shutdown waits: longer than any tool call may take.
const stopTime = 15 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program without its process: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := start(ctx, args, stdout, slog.New(slog.NewJSONHandler(stderr, nil)))
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	fmt.Fprintf(stderr, "docserver: %v\n", err)
	return exitCode(err)
}

func exitCode(err error) int {
	var bad *inputError
	switch {
	case errors.As(err, &bad):
		return bad.code
	case errors.Is(err, syscall.EADDRINUSE):
		return exitInUse
	default:
		return exitFailure
	}
}

func start(ctx context.Context, args []string, stdout io.Writer, log *slog.Logger) error {
	f, err := parseFlags(args, stdout)
	if err != nil {
		return err
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	if o.Store, err = openStore(ctx); err != nil {
		return err
	}
	if db, ok := o.Store.(io.Closer); ok {
		defer func() { _ = db.Close() }()
	}
	srv, err := docserver.New(o)
	if err != nil {
		return &inputError{exitConfig, withNextStep(err)}
	}
	if f.reset {
		if err := o.Store.Reset(ctx); err != nil {
			return fmt.Errorf("emptying the store: %w", err)
		}
	}
	if f.stdio {
		return serveStdio(ctx, srv)
	}
	return serve(ctx, srv, f.listen, stdout, log)
}

// database is the variable with the URL of the documents' database.
const database = "DATABASE_URL"

// openStore keeps documents in the database that is named, and in memory only where none
// is.
func openStore(ctx context.Context) (docserver.Store, error) {
	source := os.Getenv(database)
	if source == "" {
		return docserver.NewMemory(), nil
	}
	s, err := docserver.OpenPostgres(ctx, source)
	if err != nil {
		return nil, &inputError{exitDown, fmt.Errorf("%s: %w", database, err)}
	}
	return s, nil
}

// serviceToken is the variable in which whoever starts the server over stdio shows
// the service token.
const serviceToken = "DOCSERVER_SERVICE_TOKEN"

func serveStdio(ctx context.Context, srv *docserver.Server) error {
	err := srv.ServeStdio(ctx, os.Getenv(serviceToken), os.Stdin, os.Stdout)
	if errors.Is(err, docserver.ErrServiceToken) {
		return &inputError{exitConfig, fmt.Errorf("%w in %s", err, serviceToken)}
	}
	return err
}

// serve returns nil after ctx ended and every call under way was answered.
func serve(ctx context.Context, srv *docserver.Server, address string, stdout io.Writer, log *slog.Logger) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	// No WriteTimeout: it would cut the event streams.
	hs := &http.Server{
		Handler:           srv.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	// Shutdown waits for open event streams, which end only with their session.
	hs.RegisterOnShutdown(srv.Close)
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(ln) }()
	fmt.Fprintf(stdout, "docserver listening on http://%s/mcp\n", ln.Addr())
	log.Info("listening", "address", ln.Addr().String())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	return shutdown(hs, log)
}

func shutdown(hs *http.Server, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if err := hs.Shutdown(ctx); err != nil {
		hs.Close()
		return fmt.Errorf("connections were cut: %w", err)
	}
	log.Info("stopped")
	return nil
}
