package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/sidecar"
)

type initFlags struct {
	serverFlags
	dir         string
	force, json bool
}

// serverFlags say which server a command is about.
type serverFlags struct {
	upstream, name, credential string
	command                    []string
}

// initTime is how long a server may take to start and to list its tools.
const initTime = 60 * time.Second

func initCommand(io Streams) *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init (--upstream URL | -- COMMAND ARGS…) [-o DIR]",
		Short: "Write a configuration and a policy to begin with, from a server's own tools",
		Long: `init asks the server for its tools and writes four files: sidecar.yaml with an entry
for each tool, policy.csv with the roles reader, writer and admin, tokens.yaml without
a token, and policy.test.yaml for policy test. Nobody has a role yet, so nothing is
allowed until you say who may what.

Whether a tool reads, writes or deletes is a guess from what the server says
(readOnlyHint, destructiveHint) and from the tool's name; each guess is marked REVIEW
with its reason. A server may say what it likes: its texts stand in comments only, and
a tool whose name cannot stand in a policy is left out, which denies it.

No file is overwritten without --force.`,
		Example: `  mcp-sidecar init --upstream http://127.0.0.1:3001/mcp --name docs -o sidecar
  mcp-sidecar init --name files -o sidecar -- npx -y @modelcontextprotocol/server-filesystem /srv/docs`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			f.command = args
			switch {
			case len(args) > 0 && c.ArgsLenAtDash() != 0:
				return errors.New("put -- in front of the command")
			case (len(args) > 0) == (f.upstream != ""):
				return errors.New("init takes either --upstream URL or a command behind --")
			}
			return initialize(c.Context(), f, io)
		},
	}
	jsonFlag(c, &f.json)
	flags := c.Flags()
	flags.StringVar(&f.upstream, "upstream", "", "`URL` of the MCP server")
	flags.StringVar(&f.name, "name", "server", "what the policy calls the server: `NAME`")
	flags.StringVar(&f.credential, "credential-file", "", "`FILE` with the token that the server at URL wants of the sidecar (Authorization: Bearer)")
	flags.StringVarP(&f.dir, "output", "o", ".", "`DIR` to write to; made if it is not there")
	flags.BoolVar(&f.force, "force", false, "overwrite files of an earlier run")
	return c
}

func initialize(ctx context.Context, f initFlags, io Streams) error {
	s, err := f.starter()
	if err != nil {
		return err
	}
	if err := f.vacant(); err != nil {
		return err
	}
	cfg, err := s.config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, initTime)
	defer cancel()
	tools, err := sidecar.ListTools(ctx, cfg, f.name, io.Err)
	if err != nil {
		return exit(listCode(err), fmt.Errorf("asking %s for its tools: %s", f.name, visible(err.Error())))
	}
	if err := s.add(tools); err != nil {
		return err
	}
	files := s.files()
	if err := f.write(files); err != nil {
		return exit(ExitFailure, err)
	}
	if f.json {
		return writeJSON(io.Out, s.report(f.dir, files))
	}
	var p page
	s.show(&p, f.dir, files)
	return p.to(io.Out)
}

// listCode is the exit code of a server that could not be asked.
func listCode(err error) int {
	if code := startCode(err); code != ExitFailure {
		return code
	}
	return ExitDown
}

// starter checks the flags and begins.
func (f serverFlags) starter() (*starter, error) {
	s := &starter{name: f.name, url: f.upstream, command: f.command}
	if !nameable(f.name) || strings.ContainsAny(f.name, "/:@.") {
		return nil, fmt.Errorf("--name %q: letters, digits, _ and - only", visible(f.name))
	}
	if f.credential != "" {
		if f.upstream == "" {
			return nil, errors.New("--credential-file is for --upstream; a command takes its credential from its environment")
		}
		file, err := filepath.Abs(f.credential)
		if err != nil {
			return nil, fmt.Errorf("--credential-file: %w", err)
		}
		s.credential = file
	}
	return s, nil
}

// starterFiles are what init writes.
var starterFiles = []string{"sidecar.yaml", "policy.csv", "tokens.yaml", "policy.test.yaml"}

// vacant says whether nothing is in the way, before a server is started for nothing.
func (f initFlags) vacant() error {
	for _, name := range starterFiles {
		file := filepath.Join(f.dir, name)
		if _, err := os.Lstat(file); err == nil && !f.force {
			return exit(ExitFailure, fmt.Errorf("%s is there already; choose another folder (-o), or pass --force to overwrite it", visible(file)))
		}
	}
	return nil
}

// write makes all files, or takes back what it has made.
func (f initFlags) write(files map[string]string) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	var made []string
	for _, name := range starterFiles {
		file := filepath.Join(f.dir, name)
		if err := f.writeFile(file, files[name]); err != nil {
			for _, m := range made {
				_ = os.Remove(m)
			}
			return err
		}
		made = append(made, file)
	}
	return nil
}

// writeFile makes a file that was not there, or replaces one at once. What it replaces
// is the name, not what a link leads to.
func (f initFlags) writeFile(file, text string) error {
	target := file
	if f.force {
		target = file + ".new"
		_ = os.Remove(target)
	}
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = out.WriteString(text)
	if err = errors.Join(err, out.Close()); err == nil && f.force {
		err = os.Rename(target, file)
	}
	if err != nil {
		_ = os.Remove(target)
	}
	return err
}

// config is what reaches the server, from what will be written.
func (s *starter) config() (*config.Config, error) {
	text := s.yaml()
	cfg, err := config.Parse("init", []byte(text))
	if err != nil {
		return nil, fmt.Errorf("init cannot use this: %w", err)
	}
	if problems := cfg.Validate(); len(problems) > 0 {
		return nil, fmt.Errorf("init cannot use this: %s", problems.Explain())
	}
	cfg.Local = true
	return cfg, nil
}

// initReport is what init prints for programs.
type initReport struct {
	Version int         `json:"version"`
	Server  string      `json:"server"`
	Files   []string    `json:"files"`
	Tools   []toolGuess `json:"tools"`
}

func (s *starter) report(dir string, files map[string]string) initReport {
	r := initReport{Version: 1, Server: s.name, Tools: s.tools, Files: []string{}}
	if r.Tools == nil {
		r.Tools = []toolGuess{}
	}
	for _, name := range starterFiles {
		if _, ok := files[name]; ok {
			r.Files = append(r.Files, filepath.Join(dir, name))
		}
	}
	return r
}

func (s *starter) show(p *page, dir string, files map[string]string) {
	for _, t := range s.tools {
		if t.LeftOut != "" {
			p.line("left out  %s: %s", t.Name, t.LeftOut)
			continue
		}
		p.line("%-8s  %s: %s", t.Action, t.Name, t.Why)
	}
	p.line("wrote %s", s.report(dir, files).Files)
	p.line("next: review the guesses marked REVIEW, give roles in policy.csv, then")
	file := filepath.Join(dir, "sidecar.yaml")
	p.line("  mcp-sidecar validate %s", file)
	p.line("  mcp-sidecar policy test -c %s %s", file, filepath.Join(dir, "policy.test.yaml"))
}

// names are the tools that have an entry.
func (s *starter) names(action string) (names []string) {
	for _, t := range s.tools {
		if t.LeftOut == "" && t.Action == action {
			names = append(names, t.Name)
		}
	}
	return names
}
