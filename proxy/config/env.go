package config

import (
	"errors"
	"path/filepath"
)

// Variables that are stronger than the file and weaker than a flag. An empty one
// counts as not set.
const (
	EnvListen    = "SIDECAR_LISTEN"
	EnvPreset    = "SIDECAR_PRESET"
	EnvPublicURL = "SIDECAR_PUBLIC_URL"
	EnvStateDir  = "SIDECAR_STATE_DIR"
)

// ApplyEnv lays the variables over c; lookup is os.LookupEnv in a program. It
// reports values that cannot be read and leaves those settings as they were.
func (c *Config) ApplyEnv(lookup func(string) (string, bool)) Errors {
	var problems Errors
	settings := []struct {
		variable, path string
		set            func(string) error
	}{
		{EnvListen, "listen", func(s string) error { c.Listen = s; return nil }},
		{EnvPreset, "preset", func(s string) error { return c.Preset.UnmarshalText([]byte(s)) }},
		{EnvPublicURL, "public_url", func(s string) error { c.PublicURL = s; return nil }},
		{EnvStateDir, "state_dir", func(s string) error { c.StateDir = s; return nil }},
	}
	for _, e := range settings {
		value, _ := lookup(e.variable)
		if value == "" {
			continue
		}
		if err := e.set(value); err != nil {
			problems = append(problems, Problem{Source: e.variable, Path: e.path, Message: err.Error()})
			continue
		}
		c.Override(e.path, e.variable)
	}
	return problems
}

// Resolve returns where a file named in the configuration is: a relative name is
// meant from the folder of the configuration file, not from the folder in which
// the sidecar happens to be started.
func (c *Config) Resolve(name string) string {
	if c.origin == nil || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.origin.name), name)
}

// StateFolder returns the folder for what the sidecar keeps: StateDir, else
// mcp-sidecar in the XDG state folder. It creates nothing and fails only when
// neither a setting nor the environment names a place.
func (c *Config) StateFolder(lookup func(string) (string, bool)) (string, error) {
	if c.StateDir != "" {
		if c.origin != nil && c.origin.set["state_dir"] != "" {
			return c.StateDir, nil // a variable is meant from the working folder
		}
		return c.Resolve(c.StateDir), nil
	}
	// A relative XDG path is invalid and ignored (XDG Base Directory
	// Specification 0.8).
	if state, _ := lookup("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "mcp-sidecar"), nil
	}
	for _, home := range []string{"HOME", "USERPROFILE"} {
		if folder, _ := lookup(home); filepath.IsAbs(folder) {
			return filepath.Join(folder, ".local", "state", "mcp-sidecar"), nil
		}
	}
	return "", errors.New("no state folder: set state_dir, " + EnvStateDir + ", XDG_STATE_HOME or HOME")
}

// AuditFile returns where outcome records go: Audit.File, else audit.jsonl in the
// state folder.
func (c *Config) AuditFile(lookup func(string) (string, bool)) (string, error) {
	if c.Audit.File != "" {
		return c.Resolve(c.Audit.File), nil
	}
	folder, err := c.StateFolder(lookup)
	if err != nil {
		return "", err
	}
	return filepath.Join(folder, "audit.jsonl"), nil
}
