package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// tape is the recorder of a document server that speaks stdio: a file with every
// line that the server was sent. The program itself writes it, as the process
// between the server and whoever starts it.
type tape string

// tapeCommand is the first argument of that process: FILE PROGRAM ARGS… follow.
const tapeCommand = "record-stdio"

// mark returns a position for since.
func (t tape) mark() int {
	info, err := os.Stat(string(t))
	if err != nil {
		return 0 // nothing has arrived yet
	}
	return int(info.Size())
}

// since returns what arrived after mark.
func (t tape) since(mark int) []recorded {
	text, err := os.ReadFile(string(t))
	if err != nil || mark > len(text) {
		return nil
	}
	var all []recorded
	for line := range bytes.Lines(text[mark:]) {
		all = append(all, recorded{body: line})
	}
	return all
}

// recordStdio runs a program and keeps what it is sent in a file; a line is there
// before the program has it. It returns the program's exit code.
func recordStdio(ctx context.Context, args []string) int {
	code, err := record(ctx, args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", tapeCommand, err)
		return exitFailure
	}
	return code
}

func record(ctx context.Context, args []string) (int, error) {
	if len(args) < 2 {
		return 0, errors.New("want FILE PROGRAM ARGS…")
	}
	file, err := os.OpenFile(args[0], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	cmd := exec.CommandContext(ctx, args[1], args[2:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		defer stdin.Close()
		_ = copyLines(os.Stdin, file, stdin) // a program that has ended shows below
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// copyLines writes each line of r to all of to, one after the other.
func copyLines(r io.Reader, to ...io.Writer) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		for _, w := range to {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}
