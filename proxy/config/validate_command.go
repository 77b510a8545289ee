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

func (up Upstream) checkCommand(k *checker, path string) {
	command := child(path, "command")
	if len(up.Command) == 0 || up.Command[0] == "" {
		k.bad(command, "must begin with the program to start")
	}
	for i, arg := range up.Command {
		// A command line ends at NUL; only Go code can set one.
		k.unless(!strings.ContainsRune(arg, 0), item(command, i), "must not hold NUL")
	}
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

func (c Credential) check(k *checker, path string, up Upstream) {
	checkEnum(k, child(path, "kind"), credentialNames, c.Kind)
	switch c.Kind {
	case CredentialHeader:
		k.unless(up.Command == nil, child(path, "kind"), "must be env: a command is sent no headers")
		c.checkHeader(k, path)
	case CredentialEnv:
		k.unless(up.URL == "", child(path, "kind"), "must be header: env is for command")
		c.checkVariable(k, path)
	default:
		if c.File != "" || c.Header != "" || c.Variable != "" || c.Prefix != nil {
			k.lacks(child(path, "kind"), "must be header or env when header, variable, prefix or file is given")
		}
		return
	}
	if c.File == "" {
		k.lacks(child(path, "file"), "is required with kind %s", c.Kind)
	}
	k.file(child(path, "file"), c.File)
}

func (c Credential) checkHeader(k *checker, path string) {
	header := child(path, "header")
	switch {
	case !headerToken.MatchString(c.HeaderName()):
		k.bad(header, "is not a header name (RFC 9110 section 5.6.2)")
	case isOwnHeader(c.HeaderName()):
		k.bad(header, "is set by the connection or by MCP and cannot carry a credential")
	}
	k.unless(c.HeaderPrefix() == "" || clientID.MatchString(c.HeaderPrefix()), child(path, "prefix"), "must be printable ASCII")
	if c.Variable != "" {
		k.badKey(child(path, "variable"), "is for kind env")
	}
}

func (c Credential) checkVariable(k *checker, path string) {
	variable := child(path, "variable")
	switch {
	case c.Variable == "":
		k.lacks(variable, "is required with kind env")
	case !variableName.MatchString(c.Variable):
		k.bad(variable, "must be the name of a variable")
	case IsOwnVariable(c.Variable):
		k.bad(variable, "must not be a setting of the sidecar")
	}
	if c.Header != "" {
		k.badKey(child(path, "header"), "is for kind header")
	}
	if c.Prefix != nil {
		k.badKey(child(path, "prefix"), "is for kind header")
	}
}
