package cli

import (
	"crypto/sha256"
	"errors"
	"fmt"
	stdio "io"
	"strings"

	"github.com/spf13/cobra"

	"mcp-sidecar/proxy/identity"
)

func tokenCommand(io Streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Prepare static tokens for development and tests",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use:   "hash",
		Short: "Print the SHA-256 of the token on standard input, for static_tokens_file",
		Long: `hash reads one token from standard input, never from the command line, where
others could see it, and prints what stands under sha256 in static_tokens_file:

  openssl rand -hex 32 | tee alice.token | mcp-sidecar token hash`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return hashToken(io) },
	})
	return c
}

// shortestStatic is the least length of a static token: its hash could be tried
// against shorter ones.
const shortestStatic = 20

func hashToken(io Streams) error {
	text, err := stdio.ReadAll(stdio.LimitReader(io.In, 64<<10))
	if err != nil {
		return exit(ExitFailure, fmt.Errorf("reading the token: %w", err))
	}
	token := strings.TrimSpace(string(text))
	if _, err := identity.ParseBearer(identity.NewSecrets("Bearer " + token)); err != nil {
		return exit(ExitUsage, errors.New("standard input holds no token that a client could send (RFC 6750 section 2.1)"))
	}
	if len(token) < shortestStatic {
		return exit(ExitUsage, fmt.Errorf("the token has fewer than %d characters; make one with: openssl rand -hex 32", shortestStatic))
	}
	_, err = fmt.Fprintf(io.Out, "%x\n", sha256.Sum256([]byte(token)))
	return err
}
