package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"mcp-sidecar/policy"
)

type matrixFlags struct {
	file   string
	actors []string
	tools  bool
	json   bool
}

func policyMatrixCommand(io Streams) *cobra.Command {
	var f matrixFlags
	c := &cobra.Command{
		Use:   "matrix -c FILE",
		Short: "Print who may do what, and by which row",
		Long: `matrix asks the policy that FILE names about every user and role and every
permission that its rows and the tools of FILE speak of. Each cell has the number of
the row that decided, which stands below; a cell without one is denied because no row
allows it. * stands for everything that no column names. Scopes and guards are not
part of it: ask check about a call.

--tools has a column for each tool in place of each permission.`,
		Example: `  mcp-sidecar policy matrix -c sidecar.yaml
  mcp-sidecar policy matrix -c sidecar.yaml --tools --actor carol
  mcp-sidecar policy matrix -c sidecar.yaml --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, err := policyOf(c.Context(), f.file)
			if err != nil {
				return err
			}
			m := newMatrix(p, f)
			if f.json {
				return writeJSON(io.Out, m)
			}
			return m.show(p, io)
		},
	}
	configFlag(c, &f.file)
	jsonFlag(c, &f.json)
	c.Flags().BoolVar(&f.tools, "tools", false, "a column for each tool")
	c.Flags().StringSliceVar(&f.actors, "actor", nil, "`USERS` to show, with or without user: (default all, and the roles)")
	return c
}

// matrix is who may do what.
type matrix struct {
	Version  int      `json:"version"`
	Source   string   `json:"source"`
	Revision string   `json:"policy_rev"`
	About    string   `json:"about,omitempty"`
	Columns  []column `json:"columns"`
	Rows     []mxRow  `json:"rows"`
}

// column is one question.
type column struct {
	Name   string   `json:"name"`
	Object string   `json:"object"`
	Action string   `json:"action"`
	Tools  []string `json:"tools"` // of the configuration that need it
}

type mxRow struct {
	Subject string   `json:"subject"`
	Roles   []string `json:"roles"`
	Cells   []cell   `json:"cells"` // one for each column
}

type cell struct {
	Verdict string `json:"verdict"` // ALLOWED or REJECTED
	Rule    string `json:"rule,omitempty"`
}

func newMatrix(p *policyInForce, f matrixFlags) matrix {
	m := matrix{Version: 1, Source: p.source, Revision: p.engine.Revision(), About: p.about, Columns: p.permissions(), Rows: []mxRow{}}
	if f.tools {
		m.Columns = p.tools()
	}
	for _, s := range p.askedAbout(f.actors) {
		row := mxRow{Subject: s, Roles: some(p.engine.Roles(s)), Cells: []cell{}}
		for _, c := range m.Columns {
			d := p.engine.Decide(s, policy.Permission{Object: c.Object, Action: c.Action})
			row.Cells = append(row.Cells, cell{verdictOf(d), d.Rule})
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func verdictOf(d policy.Decision) string {
	if d.Allowed {
		return "ALLOWED"
	}
	return "REJECTED"
}

// anybodyElse is a user whom no row names: rows cannot hold a blank.
const anybodyElse = "user:anybody else"

// askedAbout are the users and the roles, users first.
func (p *policyInForce) askedAbout(actors []string) (subjects []string) {
	for _, a := range actors {
		subjects = append(subjects, "user:"+strings.TrimPrefix(a, "user:"))
	}
	if len(actors) > 0 {
		return subjects
	}
	subjects = p.engine.Subjects()
	for _, r := range append(p.rows, p.given...) {
		if r.Fields[0] == "g" { // a role that nothing else names
			subjects = append(subjects, r.Fields[2])
		}
	}
	slices.SortFunc(subjects, func(a, b string) int {
		return cmp.Or(-cmp.Compare(a[:4], b[:4]), cmp.Compare(a, b)) // user: comes before role:
	})
	return append(slices.Compact(subjects), anybodyElse)
}

// permissions are the columns of the rows and of the configured tools.
func (p *policyInForce) permissions() []column {
	all := map[policy.Permission][]string{}
	ask := func(object, action string, tools ...string) {
		q := policy.Permission{Object: object, Action: action}
		all[q] = append(all[q], tools...)
	}
	groups := map[string]bool{}
	for _, r := range p.rows {
		if r.Fields[0] == "g2" {
			groups[r.Fields[2]] = true
		}
	}
	for _, r := range p.rows {
		switch {
		case r.Fields[0] == "p" && !groups[r.Fields[2]]:
			ask(r.Fields[2], r.Fields[3])
		case r.Fields[0] == "g2" && !groups[r.Fields[1]]:
			for _, action := range p.actionsOf(r.Fields[1]) {
				ask(r.Fields[1], action)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.cfg.Tools)) {
		for _, q := range p.needs(name) {
			ask(q.Object, q.Action, name)
		}
	}
	columns := []column{}
	for q, tools := range all {
		columns = append(columns, column{q.Action + " " + q.Object, q.Object, q.Action, some(tools)})
	}
	slices.SortFunc(columns, func(a, b column) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Action, b.Action))
	})
	return columns
}

// actionsOf are those that rows about the object's groups speak of.
func (p *policyInForce) actionsOf(object string) (actions []string) {
	reached := []string{object}
	for i := 0; i < len(reached); i++ {
		for _, r := range p.rows {
			switch {
			case r.Fields[0] == "g2" && r.Fields[1] == reached[i] && !slices.Contains(reached, r.Fields[2]):
				reached = append(reached, r.Fields[2])
			case r.Fields[0] == "p" && r.Fields[2] == reached[i] && !slices.Contains(actions, r.Fields[3]):
				actions = append(actions, r.Fields[3])
			}
		}
	}
	return actions
}

// needs are the permissions that calls of a configured tool take: two where it depends
// on whose the thing is.
func (p *policyInForce) needs(tool string) []policy.Permission {
	server, name, _ := strings.Cut(tool, "/")
	t := p.cfg.Tools[tool]
	q := policy.Permission{Object: t.Resource, Action: t.Action}
	if t.Resource == "" {
		q = policy.Default(server, name).Permission
	}
	if !t.Owned() {
		return []policy.Permission{q}
	}
	return []policy.Permission{{Object: q.Object, Action: q.Action + policy.Own}, {Object: q.Object, Action: q.Action + policy.Any}}
}

// tools are a column for each configured tool, and for each that a row names.
func (p *policyInForce) tools() []column {
	columns := []column{}
	for _, name := range slices.Sorted(maps.Keys(p.cfg.Tools)) {
		for _, q := range p.needs(name) {
			_, relation, ofWhom := strings.Cut(q.Action, ":")
			shown := name
			if ofWhom && p.cfg.Tools[name].Owned() {
				shown += " (" + relation + ")"
			}
			columns = append(columns, column{shown, q.Object, q.Action, []string{name}})
		}
	}
	for _, c := range p.permissions() {
		if strings.Contains(c.Object, "/") && len(c.Tools) == 0 && (c.Action == "call" || c.Action == "*") {
			columns = append(columns, column{c.Object, c.Object, c.Action, []string{}})
		}
	}
	return columns
}

// widest is how wide a line gets before columns move below, in characters.
const widest = 110

func (m matrix) show(f *policyInForce, io Streams) error {
	var p page
	f.head(&p)
	var rules []string
	label := len("user or role")
	for _, r := range m.Rows {
		label = max(label, utf8.RuneCountInString(visible(r.name())))
	}
	for from := 0; from < len(m.Columns); {
		to, width := from, label
		for to < len(m.Columns) && (to == from || width+2+m.width(to) <= widest) {
			width += 2 + m.width(to)
			to++
		}
		p.line("")
		m.block(&p, from, to, label, &rules)
		from = to
	}
	if len(rules) > 0 {
		p.line("")
	}
	for i, r := range rules {
		p.line("%4s  %s", fmt.Sprintf("[%d]", i+1), r)
	}
	for _, c := range m.Columns {
		if len(c.Tools) > 0 && c.Tools[0] != c.Name {
			p.line("%s: %s", c.Name, c.Tools)
		}
	}
	return p.to(io.Out)
}

// name is the subject with its roles.
func (r mxRow) name() string {
	if len(r.Roles) == 0 {
		return r.Subject
	}
	return r.Subject + " (" + strings.ReplaceAll(strings.Join(r.Roles, ", "), "role:", "") + ")"
}

// width is how much room a column takes: its name, or a cell with its number.
func (m matrix) width(c int) int {
	return max(utf8.RuneCountInString(visible(m.Columns[c].Name)), len("REJECTED [999]"))
}

// block prints the columns from, up to to.
func (m matrix) block(p *page, from, to, label int, rules *[]string) {
	line := []string{fmt.Sprintf("%-*s", label, "user or role")}
	for c := from; c < to; c++ {
		line = append(line, fmt.Sprintf("%-*s", m.width(c), m.Columns[c].Name))
	}
	p.line("%s", strings.TrimRight(strings.Join(line, "  "), " "))
	for _, r := range m.Rows {
		line = []string{fmt.Sprintf("%-*s", label, visible(r.name()))}
		for c := from; c < to; c++ {
			text := r.Cells[c].Verdict
			if rule := r.Cells[c].Rule; rule != "" {
				text += fmt.Sprintf(" [%d]", number(rules, rule))
			}
			line = append(line, fmt.Sprintf("%-*s", m.width(c), text))
		}
		p.line("%s", strings.TrimRight(strings.Join(line, "  "), " "))
	}
}

// number numbers rules in the order in which they turn up.
func number(rules *[]string, rule string) int {
	i := slices.Index(*rules, rule)
	if i < 0 {
		*rules = append(*rules, rule)
		i = len(*rules) - 1
	}
	return i + 1
}
