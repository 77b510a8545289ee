package cli

import "github.com/spf13/cobra"

func policyCommand(io Streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "policy",
		Short: "Look at a policy, test it and change it",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(policyShowCommand(io), policyMatrixCommand(io), policyTestCommand(io), policyApplyCommand(io), policyLintCommand(io))
	return c
}
