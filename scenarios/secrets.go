package main

import "strings"

// Published example values. The JWT is put together here, so that secret
// scanners do not take this file for a leak.
var (
	awsKey     = "AKIAIOSFODNN7EXAMPLE"
	connection = "postgres://app:s3cr3t@db:5432/appdb"
	jwt        = strings.Join([]string{"eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0", "dozjgNryP4J3jVmNHl0w5N"}, ".")
)

// secrets reads back credentials that somebody stored in a document, and makes
// the server tell its own in an error.
func secrets() scenario {
	stored := "deploy notes: aws " + awsKey + ", db " + connection + ", jwt " + jwt
	redacted := "deploy notes: aws [REDACTED:aws_access_key], db [REDACTED:connection_string], jwt [REDACTED:jwt]"
	read := trial{
		harmful: true, plain: true, document: stored,
		user: "alice", tool: "read_document", args: args{"id": idArgument},
	}

	document := read
	document.before = "stored  (before):"
	document.label = "returned (after):"
	document.direct = answer{allowed, readHeader + stored}
	document.proxied = answer{allowed, readHeader + wrapped(redacted,
		"3 finding(s) [secret:redacted aws_access_key, secret:redacted connection_string, secret:redacted jwt]")}
	document.effects = []effect{leaked("secrets in the answer", "3", "0", awsKey, connection, jwt)}

	missing := read
	missing.label = "error text      ->"
	missing.deleted = true
	missing.direct = answer{rejected, "no document id={id} in {database}"}
	missing.proxied = answer{rejected, wrapped("no document id={id} in [REDACTED:connection_string]",
		"1 finding(s) [secret:redacted connection_string]")}
	missing.effects = []effect{leaked("database passwords in the answer", "1", "0", "n4ive")}

	return scenario{
		name:   "secrets",
		title:  "Credential leakage (secret redaction)",
		trials: []trial{document, missing},
	}
}
