package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"mcp-sidecar/proxy/config"
)

func validateCommand(io Streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "validate FILE",
		Short: "Say everything that is wrong with a configuration file",
		Long: `validate reads FILE as serve would and reports every problem with its line and
column, and exceptions (allow) that have expired. It opens no other file and no
connection. Exit code 3 means problems.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return validate(args[0], asJSON, io) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON")
	return c
}

func validate(file string, asJSON bool, io Streams) error {
	problems, notices, err := check(file)
	if err != nil {
		return exit(ExitConfig, err)
	}
	if asJSON {
		return validateJSON(file, problems, notices, io)
	}
	if len(problems) == 0 {
		_, _ = fmt.Fprintf(io.Out, "%s: ok\n", file)
		if len(notices) > 0 {
			_, _ = fmt.Fprintf(io.Out, "%d notice(s)\n%s", len(notices), notices.Explain())
		}
		return nil
	}
	return exit(ExitConfig, fmt.Errorf("%d problem(s)\n%s", len(problems), problems.Explain()))
}

// check returns what is wrong with file, and what is only worth a look; or an error when it
// cannot be read.
func check(file string) (problems, notices config.Errors, err error) {
	cfg, err := config.Load(file)
	switch {
	case errors.As(err, &problems):
		return problems, nil, nil
	case err != nil:
		return nil, nil, err
	}
	return append(cfg.ApplyEnv(os.LookupEnv), cfg.Validate()...), cfg.Expired(time.Now()), nil
}

type jsonProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

func asProblems(all config.Errors) []jsonProblem {
	list := []jsonProblem{}
	for _, p := range all {
		list = append(list, jsonProblem{p.Source, p.Line, p.Column, p.Path, p.Message})
	}
	return list
}

func validateJSON(file string, problems, notices config.Errors, io Streams) error {
	out := struct {
		Version  int           `json:"version"`
		Valid    bool          `json:"valid"`
		Problems []jsonProblem `json:"problems"`
		Notices  []jsonProblem `json:"notices,omitempty"`
	}{1, len(problems) == 0, asProblems(problems), asProblems(notices)}
	enc := json.NewEncoder(io.Out)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return exit(ExitFailure, err)
	}
	if !out.Valid {
		return exit(ExitConfig, fmt.Errorf("%s: %d problem(s)", file, len(problems)))
	}
	return nil
}
