package cli

import (
	"github.com/spf13/cobra"

	"mcp-sidecar/proxy/config"
)

func schemaCommand(io Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file",
		Long: `schema prints the JSON Schema (2020-12) of the configuration file. Editors use it
through a comment in the file's first line:
  # yaml-language-server: $schema=./sidecar.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.Out.Write(config.Schema())
			return err
		},
	}
}
