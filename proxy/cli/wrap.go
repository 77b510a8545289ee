package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/identity"
	"mcp-sidecar/proxy/sidecar"
)

// Variables that hold the credential of the client over stdio.
const (
	envToken     = "SIDECAR_TOKEN"
	envTokenFile = "SIDECAR_TOKEN_FILE"
)

type wrapFlags struct {
	file, upstream, preset string
	command                []string
}

func wrapCommand(io Streams) *cobra.Command {
	var f wrapFlags
	c := &cobra.Command{
		Use:   "wrap [-c FILE] [--preset PRESET] (-- COMMAND ARGS… | --upstream URL)",
		Short: "Stand between one client, over stdio, and a server",
		Long: `wrap takes the place of an MCP server in a client's configuration: it speaks MCP
over stdin and stdout, starts the server behind --, or calls the one at URL, and
forwards what is allowed. It opens no port. stdout carries the protocol and
nothing else; what is enforced, observed and off is printed to stderr.

Without a configuration file the caller needs no token: whoever starts wrap could
start the server as well. With auth in the file, the token is read from
SIDECAR_TOKEN, or from the file that SIDECAR_TOKEN_FILE names.

The server's environment is wrap's own without SIDECAR_ variables and without the
sidecar's credentials. COMMAND replaces the url or command of the file's only
upstream; everything else of the file holds.

The exit code is the server's own when it ends by itself, 126 when it cannot be
executed, 127 when it is not found, and 0 when the client is done.`,
		Example: `  mcp-sidecar wrap -- npx -y @modelcontextprotocol/server-filesystem /srv/docs
  mcp-sidecar wrap --preset observe --upstream http://127.0.0.1:3001/mcp
  mcp-sidecar wrap -c sidecar.yaml`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			f.command = args
			return wrap(c, f, io)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&f.file, "config", "c", "", "configuration `FILE` with one upstream, or several and merge: true (default from SIDECAR_CONFIG)")
	flags.StringVar(&f.upstream, "upstream", "", "`URL` of the MCP server, without a command or a configuration file")
	flags.StringVar(&f.preset, "preset", "", "observe, balanced or strict (default balanced)")
	return c
}

// wrap reports its own errors: stderr may be a pipe that nobody reads.
func wrap(c *cobra.Command, f wrapFlags, io Streams) error {
	if err := f.check(c); err != nil {
		return err
	}
	// A client that closes stderr must not end us with SIGPIPE. Ignoring the signal
	// would be inherited by the server.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	stderr := newTalk(io.Err)
	defer stderr.close()
	io.Err = stderr
	if code := report(stderr, f.run(c, io)); code != ExitOK {
		return exit(code, nil)
	}
	return nil
}

func (f wrapFlags) check(c *cobra.Command) error {
	switch {
	case len(f.command) > 0 && c.ArgsLenAtDash() != 0:
		return errors.New("put -- in front of the command")
	case c.ArgsLenAtDash() == 0 && len(f.command) == 0:
		return errors.New("no command behind --")
	case f.upstream != "" && (f.file != "" || len(f.command) > 0):
		return errors.New("--upstream takes the place of a command and of a configuration file")
	}
	return nil
}

func (f wrapFlags) run(c *cobra.Command, io Streams) error {
	cfg, err := f.config(c)
	if err != nil {
		return err
	}
	o := sidecar.Options{Stderr: io.Err, Token: identity.NewSecret(os.Getenv(envToken)), TokenFile: os.Getenv(envTokenFile)}
	if !o.Token.Empty() && o.TokenFile != "" {
		return exit(ExitConfig, fmt.Errorf("%s and %s are both set; which of them counts would be a guess", envToken, envTokenFile))
	}
	s, err := sidecar.New(cfg, o)
	if err != nil {
		return exit(startCode(err), err)
	}
	defer func() { _ = s.Close() }()
	// Rotation signals every program of this name. A terminal that goes away is
	// noticed at the end of stdin.
	defer onHangup(s.ReopenAudit)()
	s.Summary(io.Err)
	return wrapped(s.ServePipe(c.Context(), io.In, io.Out))
}

// startCode tells a server that cannot be started from other reasons, in the way
// of shells.
func startCode(err error) int {
	switch {
	case offlineCode(err) != ExitFailure:
		return offlineCode(err)
	case errors.Is(err, exec.ErrNotFound):
		return ExitNotFound
	case errors.Is(err, fs.ErrPermission):
		return ExitNotExecutable
	}
	return ExitFailure
}

// config makes the configuration from file, environment and flags.
func (f wrapFlags) config(c *cobra.Command) (*config.Config, error) {
	if f.file == "" && f.upstream == "" {
		f.file = os.Getenv("SIDECAR_CONFIG")
	}
	cfg := config.Default()
	switch {
	case f.file != "":
		var err error
		if cfg, err = config.Load(f.file); err != nil {
			return nil, exit(ExitConfig, err)
		}
	case f.upstream != "":
		cfg.Upstreams = map[string]config.Upstream{"upstream": {URL: f.upstream}}
		cfg.Override("upstreams", "--upstream")
	case len(f.command) > 0:
		cfg.Upstreams = map[string]config.Upstream{"upstream": {}}
	default:
		return nil, errors.New("wrap takes a command behind --, --upstream URL or -c FILE")
	}
	cfg.Local = true
	if err := f.replace(cfg); err != nil {
		return nil, err
	}
	problems := cfg.ApplyEnv(os.LookupEnv)
	if err := overlayPreset(c, cfg, f.preset); err != nil {
		return nil, err
	}
	if problems = append(problems, cfg.Validate()...); len(problems) > 0 {
		return nil, exit(ExitConfig, problems)
	}
	return cfg, nil
}

// replace puts the command in the place of what the only upstream says of its own
// whereabouts. What the file says of the tools still holds.
func (f wrapFlags) replace(cfg *config.Config) error {
	if n := len(cfg.Upstreams); n != 1 && (!cfg.Merge || len(f.command) > 0) {
		return exit(ExitConfig, fmt.Errorf("%s: wrap needs exactly one upstream, or merge: true without a command, and there are %d", f.file, n))
	}
	if len(f.command) == 0 {
		return nil
	}
	for name, u := range cfg.Upstreams {
		if u.Credential.Kind.InHeader() { // of the url
			cfg.Unused = append(cfg.Unused, u.Credential)
			u.Credential = config.Credential{}
		}
		u.URL, u.Command, u.AllowPlaintext, u.TLS = "", f.command, false, nil
		cfg.Upstreams[name] = u
	}
	cfg.Override("upstreams", "the command line")
	return nil
}

// wrapped says how the program ends after err.
func wrapped(err error) error {
	var ended *sidecar.ServerEnded
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended):
		return exit(ended.Code, err)
	}
	return exit(startCode(err), err)
}
