package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// Bounds of a command that prints a secret.
const (
	commandTime = 10 * time.Second
	commandWait = time.Second // for what it has started and left behind
)

// runCommand returns the one line that the command prints. What it says on its
// standard error is dropped: such programs show there what they were given.
func runCommand(ctx context.Context, command, env []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append([]string{}, env...) // nil would inherit
	cmd.WaitDelay = commandWait
	endGroup(cmd)
	out := &bounded{}
	cmd.Stdout = out
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("the credential command took longer than %v", commandTime)
	case out.full:
		return "", errors.New("the credential command prints too much")
	case err != nil:
		// Not wrapped: it would read as the upstream's own command that is missing.
		return "", errors.New("the credential command failed: " + err.Error())
	}
	line, err := oneLine(out.text.Bytes())
	if err != nil {
		return "", fmt.Errorf("the output of the credential command %w", err)
	}
	return line, nil
}

// bounded takes as much as a secret may have, and ends a program that says more.
type bounded struct {
	text bytes.Buffer
	full bool
}

// Write implements [io.Writer].
func (b *bounded) Write(p []byte) (int, error) {
	if b.full = b.full || b.text.Len()+len(p) > maxSecret; b.full {
		return 0, errors.New("too much")
	}
	return b.text.Write(p)
}
