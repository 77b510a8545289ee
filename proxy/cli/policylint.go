package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/sidecar"
)

type lintFlags struct {
	file         string
	tools        []string
	live         bool
	strict, json bool
}

func policyLintCommand(io Streams) *cobra.Command {
	var f lintFlags
	c := &cobra.Command{
		Use:   "lint -c FILE",
		Short: "Find rows that do nothing, or not what they look like",
		Long: `lint reads the policy that FILE names against what it is for: rows about roles that
nobody has, about resources, actions and servers that no tool has, rows that a denying
one always outweighs or that another row says already, roles and groups that no row is
about, and scopes that a tool needs and no token is granted. With --live or --tools also tools
and arguments of FILE that the server does not have: --live asks each server, with the
sidecar's own credential, and starts those that are commands; --tools reads its answer
from a file. serve counts the first part at its start and says it in its log when the
policy changes; the other it says there as soon as a server has listed its tools.

None of this makes a policy invalid. Exit code 0; with --strict 5 if there is anything.`,
		Example: `  mcp-sidecar policy lint -c sidecar.yaml --strict
  mcp-sidecar policy lint -c sidecar.yaml --live
  mcp-sidecar policy lint -c sidecar.yaml --tools docs=tools.json --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return policyLint(c.Context(), f, io) },
	}
	configFlag(c, &f.file)
	jsonFlag(c, &f.json)
	c.Flags().StringArrayVar(&f.tools, "tools", nil, "`SERVER=FILE` with the answer of the server's tools/list; repeat it for several; SERVER= may be left out where there is one")
	c.Flags().BoolVar(&f.live, "live", false, "ask the servers that --tools does not name for their tools")
	c.Flags().BoolVar(&f.strict, "strict", false, "exit with 5 if there is anything")
	return c
}

// smell is a policy.Smell for programs.
type smell struct {
	Rule string `json:"rule"`
	At   string `json:"at"`
	Text string `json:"text"`
	Cure string `json:"cure"`
}

func policyLint(ctx context.Context, f lintFlags, io Streams) error {
	cfg, err := offlineConfig(f.file)
	if err != nil {
		return err
	}
	listed, err := listedTools(cfg, f.tools, io)
	if err != nil {
		return err
	}
	if f.live {
		if err := askTools(ctx, cfg, listed, io); err != nil {
			return err
		}
	}
	var rows policy.Rows
	if cfg.Policy != nil {
		store, err := openStore(cfg)
		if err != nil {
			return err
		}
		defer func() { _ = store.Close() }()
		if rows, err = store.Rows(ctx); err != nil {
			return exit(storeCode(err), err)
		}
	}
	in := sidecar.LintInput(cfg, rows)
	in.Listed = listed
	found := policy.Lint(in)
	if err := printSmells(found, rows, f, io); err != nil {
		return err
	}
	if f.strict && len(found) > 0 {
		return exit(ExitUnmet, nil)
	}
	return nil
}

func printSmells(found []policy.Smell, rows policy.Rows, f lintFlags, io Streams) error {
	if f.json {
		out := struct {
			Version  int     `json:"version"`
			Source   string  `json:"source,omitempty"`
			Revision string  `json:"stored,omitempty"`
			Findings []smell `json:"findings"`
		}{1, rows.Name, rows.Revision, []smell{}}
		for _, s := range found {
			out.Findings = append(out.Findings, smell{s.Rule, s.Place(), s.Text, s.Cure})
		}
		return writeJSON(io.Out, out)
	}
	var p page
	for _, s := range found {
		p.line("%s: %s (%s)", s.Place(), s.Text, s.Rule)
		p.line("  %s", s.Cure)
	}
	p.line("%d finding(s)", len(found))
	return p.to(io.Out)
}

// listedTools reads what servers list.
func listedTools(cfg *config.Config, named []string, io Streams) (map[string]map[string][]string, error) {
	all := map[string]map[string][]string{}
	servers := slices.Sorted(maps.Keys(cfg.Upstreams))
	for _, name := range named {
		server, file, ok := strings.Cut(name, "=")
		if !ok && len(servers) == 1 {
			server, file = servers[0], name
		}
		if _, known := cfg.Upstreams[server]; !known {
			return nil, fmt.Errorf("--tools wants SERVER=FILE; there are %s", strings.Join(servers, ", "))
		}
		list, err := definitions(file, io.In)
		if err != nil {
			return nil, err
		}
		if all[server], err = argumentsOf(list); err != nil {
			return nil, fmt.Errorf("--tools %s: %w", file, err)
		}
	}
	return all, nil
}

// askTools adds what the servers list that listed does not have yet.
func askTools(ctx context.Context, cfg *config.Config, listed map[string]map[string][]string, io Streams) error {
	for _, server := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		if listed[server] != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, initTime)
		list, err := sidecar.ListTools(ctx, cfg, server, io.Err)
		cancel()
		if err == nil {
			listed[server], err = argumentsOf(list)
		}
		if err != nil {
			return exit(listCode(err), fmt.Errorf("asking %s for its tools: %s; --tools %s=FILE takes them from a file", server, visible(err.Error()), server))
		}
	}
	return nil
}

// argumentsOf are the arguments of each tool, nil where its schema names none.
func argumentsOf(list []json.RawMessage) (map[string][]string, error) {
	tools := map[string][]string{}
	for _, text := range list {
		var tool struct {
			Name        string
			InputSchema struct{ Properties map[string]json.RawMessage }
		}
		if err := json.Unmarshal(text, &tool); err != nil {
			return nil, fmt.Errorf("not what tools/list answers: %w", err)
		}
		if tool.Name == "" {
			return nil, errors.New("a tool has no name")
		}
		tools[tool.Name] = nil
		if tool.InputSchema.Properties != nil {
			tools[tool.Name] = slices.Sorted(maps.Keys(tool.InputSchema.Properties))
		}
	}
	return tools, nil
}
