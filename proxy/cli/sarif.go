package cli

import (
	"net/url"
	"strings"

	"mcp-sidecar/proxy/scan"
)

// sarif is a log of SARIF 2.1.0 (OASIS), as far as this command needs it.
type sarif struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver sarifDriver `json:"driver"`
	} `json:"tool"`
	ColumnKind string        `json:"columnKind"`
	Results    []sarifResult `json:"results"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Rules   []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID      string       `json:"id"`
	Short   sarifText    `json:"shortDescription"`
	Default sarifDefault `json:"defaultConfiguration"`
}

type sarifDefault struct {
	Level scan.Severity `json:"level"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifResult struct {
	RuleID       string            `json:"ruleId"`
	RuleIndex    int               `json:"ruleIndex"`
	Level        scan.Severity     `json:"level"`
	Message      sarifText         `json:"message"`
	Locations    []sarifLocation   `json:"locations"`
	Fingerprints map[string]string `json:"partialFingerprints"`
}

type sarifLocation struct {
	Physical struct {
		Artifact struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
	} `json:"physicalLocation"`
	Logical []sarifLogical `json:"logicalLocations"`
}

type sarifLogical struct {
	Name string `json:"fullyQualifiedName"`
	Kind string `json:"kind"`
}

// sarifLog is the reports as a log. There is no file that they are about, so a location is
// a relative reference that says which server and which item.
func sarifLog(reports []scan.Report) sarif {
	run := sarifRun{ColumnKind: "utf16CodeUnits", Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "mcp-sidecar", Version: buildInfo().Version}
	index := map[string]int{}
	for i, r := range scan.Rules() {
		index[r.ID] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{r.ID, sarifText{r.Text}, sarifDefault{r.Severity}})
	}
	for _, r := range reports {
		result := sarifResult{RuleID: r.Rule, RuleIndex: index[r.Rule], Level: r.Severity, Message: sarifText{escaped(ruleText(r.Rule) + ": " + r.Text + ". " + r.Cure)}}
		var at sarifLocation
		kind, name, _ := strings.Cut(r.Item, " ")
		at.Physical.Artifact.URI = "mcp/" + url.PathEscape(r.Server) + "/" + kind + "/" + url.PathEscape(name)
		at.Logical = []sarifLogical{{escaped(place(r)), "member"}}
		result.Locations = []sarifLocation{at}
		result.Fingerprints = map[string]string{"mcpOffer/v1": r.Rule + " " + escaped(r.Server+" "+r.Item+" "+r.At)}
		run.Results = append(run.Results, result)
	}
	return sarif{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}
