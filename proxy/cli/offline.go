package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/sidecar"
)

// configFlag is the -c of commands that need a file.
func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "config", "c", "", "configuration `FILE` (default from SIDECAR_CONFIG)")
}

func jsonFlag(c *cobra.Command, asJSON *bool) {
	c.Flags().BoolVar(asJSON, "json", false, "print JSON, for programs")
}

// offlineConfig reads the configuration as serve and wrap would. It need not say who
// may call: nobody is going to.
func offlineConfig(file string) (*config.Config, error) {
	if file == "" {
		file = os.Getenv("SIDECAR_CONFIG")
	}
	if file == "" {
		return nil, errors.New("which configuration? Name it with -c FILE")
	}
	cfg, err := config.Load(file)
	if err != nil {
		return nil, exit(ExitConfig, err)
	}
	problems := cfg.ApplyEnv(os.LookupEnv)
	cfg.Local = cfg.Auth == nil && cfg.Broker == nil
	if problems = append(problems, cfg.Validate()...); len(problems) > 0 {
		return nil, exit(ExitConfig, problems)
	}
	return cfg, nil
}

// newJudge prepares the decisions of the configuration.
func newJudge(cfg *config.Config, o sidecar.JudgeOptions) (*sidecar.Judge, error) {
	j, err := sidecar.NewJudge(cfg, o)
	if err != nil {
		return nil, exit(offlineCode(err), err)
	}
	return j, nil
}

// judgeOf prepares the decisions of a configuration file, with the tools that the file
// tools lists.
func judgeOf(file, tools string, io Streams) (*config.Config, *sidecar.Judge, error) {
	listed, err := definitions(tools, io.In)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := offlineConfig(file)
	if err != nil {
		return nil, nil, err
	}
	j, err := newJudge(cfg, sidecar.JudgeOptions{Tools: listed})
	return cfg, j, err
}

// offlineCode tells what a configuration is to blame for, and what is down, from the
// rest.
func offlineCode(err error) int {
	switch {
	case errors.Is(err, sidecar.ErrConfig):
		return ExitConfig
	case errors.Is(err, policy.ErrUnavailable):
		return ExitDown
	}
	return ExitFailure
}

// maxInput bounds a file that a command is given, in bytes.
const maxInput = 16 << 20

// readInput reads a file; - is standard input.
func readInput(name string, in io.Reader) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err == nil && len(text) > maxInput {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxInput)
	}
	return text, err
}

// definitions reads tools as tools/list answers them: a list, a result, or the whole
// response. No name means that there are none.
func definitions(name string, in io.Reader) ([]json.RawMessage, error) {
	if name == "" {
		return nil, nil
	}
	text, err := readInput(name, in)
	if err != nil {
		return nil, fmt.Errorf("--tools: %w", err)
	}
	var list []json.RawMessage
	if json.Unmarshal(text, &list) == nil {
		return list, nil
	}
	var answer struct {
		Tools  []json.RawMessage
		Result struct{ Tools []json.RawMessage }
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("--tools %s: not what tools/list answers: %w", name, err)
	}
	if answer.Tools == nil {
		answer.Tools = answer.Result.Tools
	}
	if answer.Tools == nil {
		return nil, fmt.Errorf("--tools %s: not what tools/list answers: it has no tools", name)
	}
	return answer.Tools, nil
}
