package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/sidecar"
)

type applyFlags struct {
	file, test, tools, revision string
	dryRun, json                bool
}

func policyApplyCommand(io Streams) *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply -c FILE ROWS",
		Short: "Put the rows of a file in the place of the policy in force",
		Long: `apply replaces the whole policy that FILE names by the rows in ROWS, at once or not
at all. Before that it prints which rows come and go and which decisions change,
refuses rows that could not be loaded, and with --test holds the new policy to a file
of expectations; what does not meet them is not applied. Afterwards it reads the
policy again and compares. Sidecars that run take it over within seconds.

Somebody else may change the policy at the same time: apply replaces only what it has
shown, and --if-revision only the revision that you have looked at. A policy file keeps
none of its comments. In a database the tables are made or brought up to date first,
which needs the rights for it; a sidecar that serves needs to read only.

Exit code 0: applied, or nothing to change; 3: rows that cannot be loaded;
4: the place where the policy is kept is down; 5: expectations are not met, or the
policy is another one by now.`,
		Example: `  mcp-sidecar policy apply -c sidecar.yaml new.csv --dry-run
  mcp-sidecar policy apply -c sidecar.yaml new.csv --test policy.test.yaml --if-revision 21d71d417601`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return policyApply(c.Context(), args[0], f, io) },
	}
	configFlag(c, &f.file)
	jsonFlag(c, &f.json)
	flags := c.Flags()
	flags.BoolVar(&f.dryRun, "dry-run", false, "change nothing")
	flags.StringVar(&f.revision, "if-revision", "", "replace the policy only if it has this stored `REVISION`")
	flags.StringVar(&f.test, "test", "", "`FILE` of expectations that the new policy has to meet")
	flags.StringVar(&f.tools, "tools", "", "`FILE` with the answer of a tools/list, for --test")
	return c
}

// applied is what policy apply prints for programs.
type applied struct {
	Version   int         `json:"version"`
	Source    string      `json:"source"`
	Before    string      `json:"revision_before,omitempty"`
	After     string      `json:"revision_after,omitempty"` // where something was applied
	Added     []string    `json:"added"`
	Removed   []string    `json:"removed"`
	Unchanged int         `json:"unchanged"`
	Decisions []turned    `json:"decisions"`
	Tests     *testReport `json:"tests,omitempty"`
	Applied   bool        `json:"applied"`
	rows      [][]string
}

// turned is a decision that another policy turns.
type turned struct {
	Subject string `json:"subject"`
	Object  string `json:"object"`
	Action  string `json:"action"`
	Now     string `json:"now"` // what it will be: ALLOWED or REJECTED
	Rule    string `json:"rule,omitempty"`
}

func policyApply(ctx context.Context, file string, f applyFlags, io Streams) error {
	text, err := readInput(file, io.In)
	if err != nil {
		return err
	}
	tests, err := f.expectations(io)
	if err != nil {
		return err
	}
	listed, err := definitions(f.tools, io.In)
	if err != nil {
		return err
	}
	cfg, err := offlineConfig(f.file)
	if err != nil {
		return err
	}
	next, rows, err := newPolicy(file, text, cfg)
	if err != nil {
		return err
	}
	store, err := openStore(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	if db, ok := store.(*policy.Postgres); ok && !f.dryRun {
		if err := db.Migrate(ctx); err != nil {
			return exit(storeCode(err), err)
		}
	}
	a, err := compare(ctx, store, rows, next, cfg)
	if err != nil {
		return err
	}
	if f.revision != "" && f.revision != a.Before {
		return exit(ExitUnmet, fmt.Errorf("the policy has revision %s, not %s; look at the difference again (--dry-run)", a.Before, visible(f.revision)))
	}
	if f.test != "" {
		if err := a.hold(ctx, f.test, tests, sidecar.JudgeOptions{Policy: next, Tools: listed}, cfg); err != nil {
			return err
		}
	}
	if a.ready(f) {
		if err := a.apply(ctx, store); err != nil {
			return errors.Join(err, a.print(f, io))
		}
	}
	if err := a.print(f, io); err != nil {
		return err
	}
	if a.Tests != nil {
		return unmet(f.test, a.Tests.Results)
	}
	return nil
}

func (f applyFlags) expectations(io Streams) ([]config.Expectation, error) {
	if f.test == "" {
		return nil, nil
	}
	return expectations(f.test, io)
}

// newPolicy compiles the new rows as the sidecar will.
func newPolicy(file string, text []byte, cfg *config.Config) (*policy.Engine, []policy.Row, error) {
	var roles map[string][]string
	if cfg.Auth != nil {
		roles = cfg.Auth.Roles
	}
	engine, err := policy.Load(bytes.NewReader(text), file, roles)
	if err != nil {
		return nil, nil, exit(ExitConfig, err)
	}
	rows, err := policy.ParseRows(file, text)
	if err != nil {
		return nil, nil, exit(ExitConfig, err)
	}
	return engine, rows, nil
}

// openStore opens the place where the configuration keeps its policy.
func openStore(cfg *config.Config) (policy.Store, error) {
	if cfg.Policy == nil {
		return nil, exit(ExitConfig, errors.New("the configuration names no policy; add policy.file or policy.database"))
	}
	store, err := sidecar.OpenPolicy(cfg)
	if err != nil {
		return nil, exit(offlineCode(err), err)
	}
	return store, nil
}

// storeCode is the exit code of an error of a store.
func storeCode(err error) int {
	var problems policy.Problems
	switch {
	case errors.Is(err, policy.ErrUnavailable):
		return ExitDown
	case errors.Is(err, policy.ErrChanged):
		return ExitUnmet
	case errors.As(err, &problems):
		return ExitConfig
	}
	return ExitFailure
}

// compare says what would change. A policy that is not there yet has no rows; one that
// cannot be read is nobody's to replace unseen.
func compare(ctx context.Context, store policy.Store, rows []policy.Row, next *policy.Engine, cfg *config.Config) (*applied, error) {
	a := &applied{Version: 1, Source: store.Name(), Added: []string{}, Removed: []string{}, Decisions: []turned{}}
	now, err := store.Rows(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, exit(storeCode(err), err)
	}
	a.Before = now.Revision
	old := map[string]bool{}
	for _, r := range now.Rows {
		old[rowText(r)] = true
	}
	for _, r := range rows {
		a.rows = append(a.rows, r.Fields)
		if old[rowText(r)] {
			a.Unchanged++
			delete(old, rowText(r))
			continue
		}
		a.Added = append(a.Added, rowText(r))
	}
	for _, r := range now.Rows {
		if old[rowText(r)] {
			a.Removed = append(a.Removed, rowText(r))
		}
	}
	return a, a.decide(now, rows, next, cfg)
}

func rowText(r policy.Row) string { return strings.Join(r.Fields, ", ") }

// decide asks both policies about everything that either speaks of.
func (a *applied) decide(now policy.Rows, rows []policy.Row, next *policy.Engine, cfg *config.Config) error {
	var text strings.Builder
	for _, r := range now.Rows {
		text.WriteString(rowText(r) + "\n")
	}
	present, _, err := newPolicy(now.Name, []byte(text.String()), cfg)
	if err != nil {
		return err
	}
	all := &policyInForce{cfg: cfg, rows: slices.Concat(now.Rows, rows), engine: next}
	all.addGiven()
	subjects := slices.Concat(present.Subjects(), next.Subjects())
	slices.Sort(subjects)
	columns := all.permissions()
	for _, s := range slices.Compact(subjects) {
		for _, c := range columns {
			was, is := present.Decide(s, policy.Permission{Object: c.Object, Action: c.Action}), next.Decide(s, policy.Permission{Object: c.Object, Action: c.Action})
			if was.Allowed != is.Allowed {
				a.Decisions = append(a.Decisions, turned{s, c.Object, c.Action, verdictOf(is), is.Rule})
			}
		}
	}
	return nil
}

// hold asks the expectations of the new policy.
func (a *applied) hold(ctx context.Context, file string, tests []config.Expectation, o sidecar.JudgeOptions, cfg *config.Config) error {
	j, err := newJudge(cfg, o)
	if err != nil {
		return err
	}
	defer j.Close()
	results := runTests(ctx, j, tests)
	a.Tests = &testReport{1, file, len(results), failures(results), results}
	return nil
}

// ready says whether anything is to be written.
func (a *applied) ready(f applyFlags) bool {
	return !f.dryRun && len(a.Added)+len(a.Removed) > 0 && (a.Tests == nil || a.Tests.Failed == 0)
}

// apply replaces what was compared, and looks whether that is what is there now.
func (a *applied) apply(ctx context.Context, store policy.Store) error {
	after, err := store.Replace(ctx, a.rows, a.Before)
	if err != nil {
		return exit(storeCode(err), err)
	}
	a.Applied, a.After = true, after
	stored, err := store.Rows(ctx)
	if err != nil {
		return exit(storeCode(err), fmt.Errorf("applied, but it cannot be read again: %w", err))
	}
	if stored.Revision != after {
		return exit(ExitUnmet, fmt.Errorf("applied, and changed again since by another writer: revision %s", stored.Revision))
	}
	if !sameRows(stored.Rows, a.rows) {
		return exit(ExitFailure, errors.New("what is stored is not what was applied"))
	}
	return nil
}

// sameRows compares as sets: a row that occurs twice counts once.
func sameRows(stored []policy.Row, wanted [][]string) bool {
	var a, b []string
	for _, r := range stored {
		a = append(a, rowText(r))
	}
	for _, fields := range wanted {
		b = append(b, strings.Join(fields, ", "))
	}
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// maxTurned is how many turned decisions are printed for people.
const maxTurned = 60

func (a *applied) print(f applyFlags, io Streams) error {
	if f.json {
		return writeJSON(io.Out, a)
	}
	var p page
	p.line("source    %s", a.Source)
	p.line("revision  %s", orNothing(a.Before))
	for _, r := range a.Removed {
		p.line("- %s", r)
	}
	for _, r := range a.Added {
		p.line("+ %s", r)
	}
	p.line("%d row(s) added, %d removed, %d unchanged", len(a.Added), len(a.Removed), a.Unchanged)
	for _, d := range a.Decisions[:min(len(a.Decisions), maxTurned)] {
		p.line("  %-8s  %s: %s %s", d.Now, d.Subject, d.Action, d.Object)
	}
	p.line("%d decision(s) change", len(a.Decisions))
	if a.Tests != nil {
		showTests(&p, a.Tests.File, a.Tests.Results)
	}
	switch {
	case a.Applied:
		p.line("applied   %s", a.After)
	case f.dryRun:
		p.line("not applied (--dry-run)")
	case len(a.Added)+len(a.Removed) == 0:
		p.line("nothing to change")
	default:
		p.line("NOT APPLIED")
	}
	return p.to(io.Out)
}

func orNothing(revision string) string {
	if revision == "" {
		return "none: there is no policy yet"
	}
	return revision
}
