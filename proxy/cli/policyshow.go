package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/sidecar"
)

// rolesKey is where roles from the configuration stand.
const rolesKey = "auth.roles"

// policyInForce is the policy of a configuration, as rows and as decisions.
type policyInForce struct {
	source string // a file, or what stands in for one
	stored string // revision of the rows alone, by which apply goes
	rows   []policy.Row
	given  []policy.Row // from the configuration
	engine *policy.Engine
	cfg    *config.Config
	about  string // where there are no rows: what holds
}

// policyOf reads the policy of a configuration file.
func policyOf(ctx context.Context, file string) (*policyInForce, error) {
	cfg, err := offlineConfig(file)
	if err != nil {
		return nil, err
	}
	j, err := newJudge(cfg, sidecar.JudgeOptions{})
	if err != nil {
		return nil, err
	}
	defer j.Close()
	f := &policyInForce{cfg: cfg, engine: j.Policy()}
	switch {
	case cfg.Policy != nil:
		err = f.readRows(ctx)
	case cfg.Preset == config.PresetStrict:
		f.source, f.about = "none", "strict without a policy denies everything"
	default:
		f.source, f.about = "built in", "every authenticated caller may use everything"
	}
	if cfg.Preset == config.PresetObserve {
		f.about = strings.TrimPrefix(f.about+"; observe: what is refused here is only recorded", "; ")
	}
	return f, err
}

func (f *policyInForce) readRows(ctx context.Context) error {
	store, err := openStore(f.cfg)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	f.source = store.Name()
	rows, err := store.Rows(ctx)
	if err != nil {
		return exit(storeCode(err), err)
	}
	f.rows, f.stored = rows.Rows, rows.Revision
	f.addGiven()
	return nil
}

// addGiven adds the roles that the configuration gives.
func (f *policyInForce) addGiven() {
	if auth := f.cfg.Auth; auth != nil {
		for _, user := range slices.Sorted(maps.Keys(auth.Roles)) {
			for _, role := range auth.Roles[user] {
				f.given = append(f.given, policy.Row{Fields: []string{"g", user, role}})
			}
		}
	}
}

// shownRow is a row with its place.
type shownRow struct {
	Place  string   `json:"place"`
	Fields []string `json:"fields"`
}

func (f *policyInForce) shown() []shownRow {
	rows := []shownRow{}
	for _, r := range f.rows {
		place := f.source
		if r.Line > 0 {
			place = fmt.Sprintf("%s:%d", f.source, r.Line)
		}
		rows = append(rows, shownRow{place, r.Fields})
	}
	for _, r := range f.given {
		rows = append(rows, shownRow{rolesKey, r.Fields})
	}
	return rows
}

func policyShowCommand(io Streams) *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:   "show -c FILE",
		Short: "Print the rows of the policy, where they stand, and the roles that follow",
		Long: `show prints the source and revision of the policy that FILE names, every row with
its place, those that auth.roles adds among them, and the roles that each user and
role has in effect, inherited ones included.`,
		Example: `  mcp-sidecar policy show -c sidecar.yaml
  mcp-sidecar policy show -c sidecar.yaml --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := policyOf(c.Context(), file)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(io.Out, f.report())
			}
			return f.show(io)
		},
	}
	configFlag(c, &file)
	jsonFlag(c, &asJSON)
	return c
}

// policyReport is what policy show prints for programs.
type policyReport struct {
	Version  int                 `json:"version"`
	Source   string              `json:"source"`
	Revision string              `json:"policy_rev"` // of all that decides, as in audit records
	Stored   string              `json:"revision,omitempty"`
	About    string              `json:"about,omitempty"`
	Rows     []shownRow          `json:"rows"`
	Roles    map[string][]string `json:"roles"` // of users and roles, inherited ones included
}

func (f *policyInForce) report() policyReport {
	r := policyReport{Version: 1, Source: f.source, Revision: f.engine.Revision(), Stored: f.stored, About: f.about, Rows: f.shown(), Roles: map[string][]string{}}
	for _, s := range f.engine.Subjects() {
		r.Roles[s] = some(f.engine.Roles(s))
	}
	return r
}

func (f *policyInForce) show(io Streams) error {
	var p page
	f.head(&p)
	rows := f.shown()
	for _, part := range []struct{ kind, name string }{{"p", "permissions"}, {"g", "roles"}, {"g2", "groups"}} {
		named := false
		for _, r := range rows {
			if r.Fields[0] != part.kind {
				continue
			}
			if !named {
				p.line("%s", part.name)
			}
			named = true
			p.line("  %s  %s", r.Place, strings.Join(r.Fields, ", "))
		}
	}
	subjects := f.engine.Subjects()
	if len(subjects) > 0 {
		p.line("in effect")
	}
	for _, s := range subjects {
		p.line("  %s  %s", s, orNone(f.engine.Roles(s)))
	}
	return p.to(io.Out)
}

func (f *policyInForce) head(p *page) {
	p.line("source    %s", f.source)
	p.line("revision  %s", f.engine.Revision())
	if f.stored != "" && f.stored != f.engine.Revision() {
		p.line("stored    %s", f.stored)
	}
	if f.about != "" {
		p.line("%s", f.about)
	}
}
