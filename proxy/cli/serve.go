package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/sidecar"
)

type serveFlags struct {
	file, upstream, listen, preset string
	insecure                       bool
}

func serveCommand(io Streams) *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve (-c FILE | --upstream URL)",
		Short: "Serve MCP over streamable HTTP in front of an HTTP server",
		Long: `serve listens for MCP clients and forwards what is allowed to the server.

Flags are stronger than the environment (SIDECAR_LISTEN, SIDECAR_PRESET,
SIDECAR_PUBLIC_URL, SIDECAR_STATE_DIR), which is stronger than the file.

Each address is printed to stdout once it answers, as a line of its own:
  mcp-sidecar listening on http://127.0.0.1:8811/mcp
With several upstreams in the file each has its own, /NAME/mcp.
What is enforced, observed and off is printed to stderr. SIGTERM lets calls in
flight finish; SIGHUP opens the audit file again, after it has been moved away.`,
		Example: `  mcp-sidecar serve -c sidecar.yaml
  mcp-sidecar serve --upstream http://127.0.0.1:3001/mcp --preset observe --insecure-no-auth`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return serve(c, f, io) },
	}
	flags := c.Flags()
	flags.StringVarP(&f.file, "config", "c", "", "configuration `FILE` (default from SIDECAR_CONFIG)")
	flags.StringVar(&f.upstream, "upstream", "", "`URL` of the MCP server to guard, without a configuration file")
	flags.StringVar(&f.listen, "listen", "", "`HOST:PORT` to listen on; port 0 takes a free one (default 127.0.0.1:8811)")
	flags.StringVar(&f.preset, "preset", "", "observe, balanced or strict (default balanced)")
	flags.BoolVar(&f.insecure, "insecure-no-auth", false, "let everybody on this host in as \"anonymous\"; loopback only")
	return c
}

func serve(c *cobra.Command, f serveFlags, io Streams) error {
	cfg, err := f.config(c)
	if err != nil {
		return err
	}
	s, err := sidecar.New(cfg, sidecar.Options{Stderr: io.Err})
	if err != nil {
		return exit(offlineCode(err), err)
	}
	defer func() { _ = s.Close() }()
	if err := s.Listen(); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return exit(ExitInUse, fmt.Errorf("%w; stop the other program, or choose another address (--listen, diagnostics.listen)", err))
		}
		return exit(ExitFailure, err)
	}
	defer onHangup(s.ReopenAudit)()
	s.Summary(io.Err)
	for _, url := range s.URLs() {
		_, _ = fmt.Fprintf(io.Out, "mcp-sidecar listening on %s\n", url)
	}
	return ended(s.Serve(c.Context()))
}

func ended(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return exit(ExitFailure, err)
}

// config makes the configuration from file, environment and flags.
func (f serveFlags) config(c *cobra.Command) (*config.Config, error) {
	if f.file == "" && f.upstream == "" {
		f.file = os.Getenv("SIDECAR_CONFIG")
	}
	if (f.file == "") == (f.upstream == "") {
		return nil, errors.New("serve takes either -c FILE or --upstream URL")
	}
	cfg := config.Default()
	if f.file != "" {
		var err error
		if cfg, err = config.Load(f.file); err != nil {
			return nil, exit(ExitConfig, err)
		}
	} else {
		cfg.Upstreams = map[string]config.Upstream{"upstream": {URL: f.upstream}}
		cfg.Override("upstreams", "--upstream")
	}
	problems := cfg.ApplyEnv(os.LookupEnv)
	if err := f.overlay(c, cfg); err != nil {
		return nil, err
	}
	if problems = append(problems, cfg.Validate()...); len(problems) > 0 {
		return nil, exit(ExitConfig, problems)
	}
	return cfg, nil
}

func (f serveFlags) overlay(c *cobra.Command, cfg *config.Config) error {
	if c.Flags().Changed("listen") {
		cfg.Listen = f.listen
		cfg.Override("listen", "--listen")
	}
	cfg.InsecureNoAuth = f.insecure
	return overlayPreset(c, cfg, f.preset)
}

func overlayPreset(c *cobra.Command, cfg *config.Config, preset string) error {
	if !c.Flags().Changed("preset") {
		return nil
	}
	if err := cfg.Preset.UnmarshalText([]byte(preset)); err != nil {
		return fmt.Errorf("--preset %q %w", preset, err)
	}
	cfg.Override("preset", "--preset")
	return nil
}
