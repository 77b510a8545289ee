// Package scan asks the guards about a single text, without a sidecar around it.
package scan

import (
	"errors"
	"fmt"
	"strings"

	"mcp-sidecar/guards"
	"mcp-sidecar/guards/command"
	"mcp-sidecar/guards/injection"
	"mcp-sidecar/guards/secrets"
	"mcp-sidecar/guards/ssrf"
)

// Kinds of question.
const (
	Injection = "prompt_injection" // does the text try to steer the model that reads it?
	Secret    = "secret"           // does it hold a credential?
	SSRF      = "ssrf"             // is it a URL that may not be fetched? Asks no DNS
	Command   = "command"          // would it do harm as one argument of a command?
)

// Kinds lists them.
func Kinds() []string { return []string{Injection, Secret, SSRF, Command} }

// ErrKind is a question that is none of Kinds.
var ErrKind = errors.New("unknown kind")

// Verdict is what a guard says of a text.
type Verdict struct {
	Flagged  bool
	Score    float64 // 0 to 1; of deterministic kinds 0 or 1
	Findings []guards.Finding
	Redacted string // the text without credentials, whatever the question
}

// Judge asks the guard of kind about text. Offsets of findings are bytes of text.
func Judge(kind, text string) (Verdict, error) {
	redacted, found := secrets.Redact(text)
	v := Verdict{Redacted: redacted}
	switch kind {
	case Injection:
		v.Findings, v.Score = injection.Find(text), injection.Score(text)
	case Secret:
		v.Findings = found
	case SSRF:
		if _, b := ssrf.Examine(text, ssrf.Rule{}); b != nil {
			v.Findings = whole(ssrf.Name, b.Rule, text)
		}
	case Command:
		v.Findings = command.Examine(text)
	default:
		return Verdict{}, fmt.Errorf("%w %q; there are %s", ErrKind, kind, strings.Join(Kinds(), ", "))
	}
	v.Flagged = len(v.Findings) > 0
	for _, f := range v.Findings {
		v.Score = max(v.Score, f.Score)
	}
	return v, nil
}

// whole is a finding about all of text.
func whole(guard, rule, text string) []guards.Finding {
	return []guards.Finding{{Guard: guard, Rule: rule, Label: guard + ":" + rule, End: len(text), Score: 1}}
}
