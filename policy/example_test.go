package policy_test

import (
	"fmt"

	"mcp-sidecar/policy"
)

// One call is authorized by two answers: what the token was granted, and what
// its subject may do.
func Example() {
	engine, err := policy.LoadFile("testdata/demo.csv", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	catalog := policy.NewCatalog(map[string]policy.Entry{
		"docs/delete_document": {
			Permission: policy.Permission{Object: "document", Action: "delete"},
			Scopes:     []string{"documents:delete"},
		},
	})
	tool, ok := catalog.Lookup("docs", "delete_document")
	if !ok {
		tool = policy.Default("docs", "delete_document")
	}

	fmt.Println("missing scopes:", policy.MissingScopes([]string{"documents:*"}, tool.Scopes))
	for _, subject := range []string{"user:alice", "user:carol", "user:dave"} {
		if d := engine.Decide(subject, tool.Permission); d.Allowed {
			fmt.Println("allowed by", d.Rule)
			continue
		}
		fmt.Println(policy.DeniedText(subject, engine.Roles(subject), tool.Action, tool.Permission.Object))
	}
	// Output:
	// missing scopes: []
	// allowed by testdata/demo.csv:8: p, role:admin, document, delete, allow
	// denied: role "viewer" may not delete document
	// denied: user "dave" has no role
}
