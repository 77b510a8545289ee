package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// pipedServer gives c all its sensors and returns the command line of a document
// server that speaks stdio, with a recorder in front of it.
func (l *lab) pipedServer(c *column, name string, args ...string) ([]string, error) {
	more, err := l.equip(c, name)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	server, err := l.program("docserver")
	if err != nil {
		return nil, err
	}
	file := tape(l.folder.path(name + ".lines"))
	c.recorder = file
	return append(append([]string{self, tapeCommand, string(file), server, "--stdio"}, args...), more...), nil
}

// pipeProxied puts the sidecar between the client and a document server that it
// starts.
func (l *lab) pipeProxied() error {
	server, err := l.pipedServer(&l.proxied, "docserver-behind", l.serviceToken()...)
	if err != nil {
		return err
	}
	if err := l.folder.config(configFile, anyPort, l.issuerURL, startedBy(server)); err != nil {
		return err
	}
	l.proxied.audit = tape(l.folder.path(auditFile))
	sidecar, err := l.program("mcp-sidecar")
	l.proxied.command = []string{sidecar, "wrap", "-c", l.folder.path(configFile)}
	return err
}

// onePipe starts c's command and opens one connection for all users. Each call
// carries the token of whoever makes it.
func (l *lab) onePipe(ctx context.Context, c *column) (func(token string) (*client, error), error) {
	log, err := os.Create(l.folder.path(c.name + ".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()                                   // the child has its own copy
	cmd := exec.Command(c.command[0], c.command[1:]...) //nolint:noctx // the connection's end ends it
	cmd.Dir, cmd.Stderr, cmd.Env = string(l.folder), log, childEnvironment()
	l.processes = append(l.processes, &process{name: c.name, log: log.Name(), done: make(chan struct{})})
	l.say("%-11s over stdio, stderr in %s", c.name, log.Name())
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	session, err := connectTo(ctx, &mcp.CommandTransport{Command: cmd}, l.options.revision)
	if err != nil {
		return nil, fmt.Errorf("connecting over stdio: %w", err)
	}
	return func(token string) (*client, error) { return &client{session: session, piped: token}, nil }, nil
}
