package config

import _ "embed"

//go:generate go test -run IsCurrent$ -update

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (2020-12) of the configuration file. It is made
// from the structs of this package; a test fails when it is stale.
//
// What a schema can say, it says: keys, types, names and enums. Relations
// between settings are left to Validate.
func Schema() []byte { return append([]byte(nil), schema...) }
