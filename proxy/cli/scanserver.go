package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/scan"
	"mcp-sidecar/proxy/sidecar"
)

type scanFlags struct {
	serverFlags
	file, severity string
	json, sarif    bool
}

// server says whether a server is scanned, and not standard input.
func (f scanFlags) server() bool { return f.upstream != "" || f.file != "" || len(f.command) > 0 }

func (f scanFlags) check(dash int) error {
	ways := 0
	for _, way := range []bool{f.upstream != "", f.file != "", len(f.command) > 0} {
		if way {
			ways++
		}
	}
	switch {
	case len(f.command) > 0 && dash != 0:
		return errors.New("put -- in front of the command")
	case ways > 1:
		return errors.New("scan takes one of --upstream URL, -c FILE and a command behind --")
	case ways == 0 && (f.json || f.sarif):
		return errors.New("--json and --sarif are about a server: --upstream URL, -c FILE or -- COMMAND; lines are JSON anyway")
	case f.json && f.sarif:
		return errors.New("--json or --sarif, not both")
	case !slices.Contains(scan.Severities(), scan.Severity(f.severity)):
		return fmt.Errorf("--severity %s: error, warning or note", visible(f.severity))
	}
	return nil
}

// config has the servers to be scanned.
func (f scanFlags) config() (*config.Config, error) {
	if f.file != "" {
		return offlineConfig(f.file)
	}
	s, err := f.starter()
	if err != nil {
		return nil, err
	}
	return s.config()
}

func scanServers(ctx context.Context, f scanFlags, io Streams) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	var servers []scan.Server
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		ctx, cancel := context.WithTimeout(ctx, initTime)
		o, err := sidecar.Offered(ctx, cfg, name, io.Err)
		cancel()
		if err != nil {
			return exit(listCode(err), fmt.Errorf("asking %s for what it offers: %s", name, visible(err.Error())))
		}
		servers = append(servers, scan.Server{
			Name: name, About: o.About, Tools: o.Tools, Prompts: o.Prompts, Resources: o.Resources, Templates: o.Templates,
			Bound: func(tool, argument string) bool {
				_, bound := cfg.Tools[name+"/"+tool].Args[argument]
				return bound
			},
		})
	}
	reports := slices.DeleteFunc(scan.Servers(servers), func(r scan.Report) bool {
		return slices.Index(scan.Severities(), r.Severity) > slices.Index(scan.Severities(), scan.Severity(f.severity))
	})
	switch {
	case f.sarif:
		err = writeJSON(io.Out, sarifLog(reports))
	case f.json:
		err = writeJSON(io.Out, scanReport(servers, reports))
	default:
		err = printReports(servers, reports, io)
	}
	if err != nil {
		return err
	}
	if len(reports) > 0 {
		return exit(ExitUnmet, nil)
	}
	return nil
}

func printReports(servers []scan.Server, reports []scan.Report, io Streams) error {
	var p page
	for _, r := range reports {
		p.line("%-7s  %s: %s: %s (%s)", r.Severity, place(r), ruleText(r.Rule), r.Text, r.Rule)
		p.line("         %s", r.Cure)
	}
	for _, s := range servers {
		p.line("%s: %d tool(s), %d prompt(s), %d resource(s), %d template(s)", s.Name, len(s.Tools), len(s.Prompts), len(s.Resources), len(s.Templates))
	}
	p.line("%d finding(s)", len(reports))
	return p.to(io.Out)
}

// place is where a report is, for people.
func place(r scan.Report) string {
	at := r.Server + " " + r.Item + " " + r.At
	if r.End > 0 {
		at += fmt.Sprintf("[%d:%d]", r.Start, r.End)
	}
	return strings.TrimSpace(at)
}

func ruleText(id string) string {
	for _, r := range scan.Rules() {
		if r.ID == id {
			return r.Text
		}
	}
	return id
}

// offerReport is what scan prints about servers for programs.
type offerReport struct {
	Version  int            `json:"version"`
	Servers  []offerServer  `json:"servers"`
	Findings []offerFinding `json:"findings"`
}

type offerServer struct {
	Name      string `json:"name"`
	Tools     int    `json:"tools"`
	Prompts   int    `json:"prompts"`
	Resources int    `json:"resources"`
	Templates int    `json:"templates"`
}

type offerFinding struct {
	Rule     string        `json:"rule"`
	Severity scan.Severity `json:"severity"`
	Server   string        `json:"server"`
	Item     string        `json:"item"`
	At       string        `json:"at"`
	Start    int           `json:"start"`
	End      int           `json:"end"`
	Text     string        `json:"text"`
	Cure     string        `json:"cure"`
}

func scanReport(servers []scan.Server, reports []scan.Report) offerReport {
	out := offerReport{Version: 1, Findings: []offerFinding{}}
	for _, s := range servers {
		out.Servers = append(out.Servers, offerServer{s.Name, len(s.Tools), len(s.Prompts), len(s.Resources), len(s.Templates)})
	}
	for _, r := range reports {
		out.Findings = append(out.Findings, offerFinding(r))
	}
	return out
}
