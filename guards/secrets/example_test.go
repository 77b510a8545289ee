package secrets_test

import (
	"fmt"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/secrets"
)

func ExampleRedact() {
	out, found := secrets.Redact("no document id=7 in postgres://docs:n4ive@db:5432/documents")
	fmt.Println(out)
	fmt.Println(found[0].Label, found[0].Start, found[0].End)
	// Output:
	// no document id=7 in [REDACTED:connection_string]
	// secret:redacted connection_string 20 59
}

func ExampleGuard() {
	var g guards.Output = secrets.New()
	text := guards.Text{Value: "aws AKIAIOSFODNN7EXAMPLE, region eu-west-1"}
	fmt.Println(g.Change(text, g.Find(text)))
	// Output: aws [REDACTED:aws_access_key], region eu-west-1
}
