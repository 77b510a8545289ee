package main

import (
	"encoding/json"
	"io"
)

// report is everything that one run found. It is what --json prints and what the
// text is rendered from. Tokens are never in it, only their names.
type report struct {
	Version   int       `json:"version"` // of this format
	Kind      string    `json:"kind"`
	Transport string    `json:"transport"`
	Revision  string    `json:"revision"` // of MCP
	OK        bool      `json:"ok"`       // everything was as expected
	Summary   summary   `json:"summary"`
	Tools     toolsSeen `json:"tools"`
	Sections  []section `json:"sections"`
}

const (
	reportVersion = 1
	reportKind    = "mcp-sidecar/scenarios"
)

// summary counts what happened.
type summary struct {
	Sections         int `json:"sections"`
	Attacks          int `json:"attacks"`
	AttacksDirect    int `json:"attacks_that_worked_directly"`
	AttacksProxied   int `json:"attacks_that_worked_through_the_sidecar"`
	Legitimate       int `json:"legitimate_calls"`
	LegitimatePassed int `json:"legitimate_calls_that_passed_both_ways"`
	Unexpected       int `json:"unexpected"` // cases that were not as expected, the tool list included
}

// toolsSeen are the tools that alice is shown.
type toolsSeen struct {
	Direct   []string `json:"direct"`
	Proxied  []string `json:"proxied"`
	Problems []string `json:"problems,omitempty"`
}

// section is one scenario's part of the report.
type section struct {
	Name  string   `json:"name"`
	Title string   `json:"title"`
	Cases []result `json:"cases"`
}

// result is one trial's part of the report.
type result struct {
	Case     string     `json:"case"`
	Attack   bool       `json:"attack"`
	OK       bool       `json:"ok"`
	Skipped  bool       `json:"skipped,omitempty"` // the demo has not started the servers
	Request  request    `json:"request"`
	Direct   side       `json:"direct"`
	Proxied  side       `json:"proxied"`
	Effects  []measured `json:"effects"`
	Problems []string   `json:"problems,omitempty"` // how it differs from what was expected

	trial trial
}

// request is what both servers were sent.
type request struct {
	User      string            `json:"user"`
	Token     string            `json:"token"`             // which one, never the token itself
	Way       string            `json:"way,omitempty"`     // through what the naive server was reached
	Headers   map[string]string `json:"headers,omitempty"` // {token} is the call's
	Tool      string            `json:"tool,omitempty"`
	Arguments map[string]any    `json:"arguments,omitempty"` // {id} is the document of the side
}

// side is what became of a request in one column.
type side struct {
	Document int    `json:"document,omitempty"` // ID of the document that the call was about
	Answer   answer `json:"answer"`
	Expected answer `json:"expected"`
}

// measured is one effect in both columns.
type measured struct {
	Name            string `json:"name"`
	Direct          string `json:"direct"`
	Proxied         string `json:"proxied"`
	ExpectedDirect  string `json:"expected_direct"`
	ExpectedProxied string `json:"expected_proxied"`
}

// writeJSON prints the report as one indented document.
func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // the delimiters are easier to read with their brackets
	e.SetIndent("", "  ")
	return e.Encode(r)
}
