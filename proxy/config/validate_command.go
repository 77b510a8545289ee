package config

import (
	"regexp"
	"slices"
	"strings"
)

// variableName is what a shell can set; parentheses are for Windows.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_()]*$`)

// IsOwnVariable reports whether name is a setting of the sidecar itself, which no
// server gets to see.
func IsOwnVariable(name string) bool { return strings.HasPrefix(strings.ToUpper(name), "SIDECAR_") }

// isCallersVariable reports whether name holds the token of whoever calls over
// stdio, or says where it is.
func isCallersVariable(name string) bool {
	return strings.HasPrefix(strings.ToUpper(name), "SIDECAR_TOKEN")
}

func (up Upstream) checkCommand(k *checker, path string) {
	checkProgram(k, child(path, "command"), up.Command)
	if up.AllowPlaintext {
		k.badKey(child(path, "allow_plaintext"), "is for url")
	}
	for i, name := range up.EnvAllow {
		at := item(child(path, "env_allow"), i)
		switch {
		case !variableName.MatchString(name):
			k.bad(at, "must be the name of a variable")
		case IsOwnVariable(name):
			k.bad(at, "is a setting of the sidecar, which the server must not see")
		case slices.Contains(up.EnvAllow[:i], name):
			k.bad(at, "is given twice")
		case up.Credential.Kind == CredentialEnv && name == up.Credential.Variable:
			k.bad(at, "carries the credential already")
		case name == up.Credential.ValueEnv:
			k.bad(at, "holds the credential, which has a place of its own")
		}
	}
}

// checkNoCommand refuses what has no meaning for a server with a URL.
func (up Upstream) checkNoCommand(k *checker, path string) {
	if up.EnvAllow != nil {
		k.badKey(child(path, "env_allow"), "is for command")
	}
	if up.Shared {
		k.badKey(child(path, "shared"), "is for command")
	}
}
