package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"time"
)

// revision is one version of the protocol that the suite knows.
type revision struct {
	name string
	// stateless is how the SDK's server serves it: one handler serves either the
	// sessions of the older revisions or the newest one.
	stateless bool
	// extensions also runs the scenarios outside the versions of the protocol.
	extensions bool
	// direct is how many checks pass directly: fewer would mean that the server
	// did not work, and then nothing could regress.
	direct int
}

var revisions = []revision{
	{name: "2025-03-26", direct: 3},
	{name: "2025-06-18", direct: 56},
	{name: "2025-11-25", direct: 82},
	{name: "2026-07-28", stateless: true, extensions: true, direct: 168},
}

func knownRevision(name string) bool {
	return slices.ContainsFunc(revisions, func(r revision) bool { return r.name == name })
}

// upstreamKinds are the transports between sidecar and server.
var upstreamKinds = []string{"http", "stdio"}

// runPatience bounds one run of the suite. Its scenarios have 30 seconds each,
// which would be half an hour if none of them got an answer.
const runPatience = 4 * time.Minute

// compareSuite runs the suite directly and through the sidecar.
func (b *bench) compareSuite(ctx context.Context, o options) error {
	extensions, err := b.extensions(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%-12s %-10s %15s %15s\n", "", "", "DIRECT", "THROUGH")
	row("REVISION", "UPSTREAM", "PASS", "FAIL", "PASS", "FAIL", "REGRESSIONS")
	var all []error
	for _, rev := range revisions {
		if o.revision != "" && o.revision != rev.name {
			continue
		}
		if err := b.compareRevision(ctx, rev, o.upstream, extensions); err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

func (b *bench) compareRevision(ctx context.Context, rev revision, upstream string, extensions []string) error {
	if !rev.extensions {
		extensions = nil
	}
	direct, err := b.baseline(ctx, rev, extensions)
	if err != nil {
		return fmt.Errorf("%s, directly: %w", rev.name, err)
	}
	var all []error
	for _, kind := range upstreamKinds {
		if upstream != "" && upstream != kind {
			continue
		}
		if err := b.compareThrough(ctx, rev, kind, direct, extensions); err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(append(all, b.selfTest(ctx, rev, direct, extensions))...)
}

// baseline is what passes directly. A busy machine may cost a check, so a run
// below what is known is repeated.
func (b *bench) baseline(ctx context.Context, rev revision, extensions []string) (results, error) {
	direct := results{}
	for range 2 {
		s, err := b.direct(ctx, rev)
		if err != nil {
			return nil, err
		}
		got, err := b.suite(ctx, s.url, rev, extensions)
		s.stop()
		if err != nil {
			return nil, err
		}
		direct.best(got)
		if passed, _ := direct.counts(); passed >= rev.direct {
			return direct, nil
		}
	}
	passed, _ := direct.counts()
	return nil, fmt.Errorf("%d checks pass, %d should: there is nothing to compare with", passed, rev.direct)
}

func (b *bench) compareThrough(ctx context.Context, rev revision, kind string, direct results, extensions []string) error {
	through, err := b.throughOnce(ctx, rev, kind, func(url string) (results, error) { return b.suite(ctx, url, rev, extensions) })
	if err != nil {
		return fmt.Errorf("%s, %s upstream: %w", rev.name, kind, err)
	}
	var exempted []regression
	remaining := func() (found []regression) {
		exempted = nil
		for _, r := range regressions(direct, through) {
			if kind == "stdio" && exempt(stdioExemptions, r) {
				exempted = append(exempted, r)
			} else {
				found = append(found, r)
			}
		}
		return found
	}
	var notes []string
	for _, scenario := range scenariosOf(remaining()) {
		again, err := b.throughOnce(ctx, rev, kind, func(url string) (results, error) { return b.scenario(ctx, url, rev, scenario) })
		if err != nil {
			return fmt.Errorf("%s, %s upstream, %s alone: %w", rev.name, kind, scenario, err)
		}
		through.put(scenario, again)
		notes = append(notes, scenario)
	}
	found := remaining()
	report(rev, kind, direct, through, found, notes)
	for _, r := range exempted {
		fmt.Printf("    exempt %s\n", r.check)
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: %s, %s upstream: %d checks", errRegression, rev.name, kind, len(found))
	}
	return nil
}

func row(cells ...any) {
	fmt.Printf("%-12v %-10v %7v %7v %7v %7v %14v\n", cells...)
}

func report(rev revision, kind string, direct, through results, found []regression, retried []string) {
	dp, df := direct.counts()
	tp, tf := through.counts()
	row(rev.name, kind, dp, df, tp, tf, len(found))
	for _, s := range retried {
		if !slices.ContainsFunc(found, func(r regression) bool { return r.Scenario == s }) {
			fmt.Printf("    %s failed in the whole run and passed alone\n", s)
		}
	}
	for _, r := range found {
		fmt.Printf("    REGRESSION %s\n", r)
	}
}

func scenariosOf(found []regression) []string {
	var names []string
	for _, r := range found {
		names = append(names, r.Scenario)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// direct starts the SDK's conformance server.
func (b *bench) direct(ctx context.Context, rev revision) (*server, error) {
	return b.serveHTTP(ctx, "everything-server", func(addr string, c *exec.Cmd) { c.Args = append(c.Args, "-http", addr) },
		b.everything, fmt.Sprintf("-stateless=%t", rev.stateless))
}

// throughOnce starts a fresh server behind a fresh sidecar for one run: the
// scenarios change the server's lists.
func (b *bench) throughOnce(ctx context.Context, rev revision, kind string, run func(url string) (results, error)) (results, error) {
	var behind *server
	upstream := fmt.Sprintf("{ command: [%q] }", b.everything)
	if kind == "http" {
		var err error
		if behind, err = b.direct(ctx, rev); err != nil {
			return nil, err
		}
		upstream = fmt.Sprintf("{ url: %q }", behind.url)
	}
	s, err := b.serveSidecar(ctx, behind, "balanced", upstream, nil)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	return run(s.url)
}

// selfTest compares with an address where nobody answers. The suite calls a
// third of its checks passed there; the comparison must not.
func (b *bench) selfTest(ctx context.Context, rev revision, direct results, extensions []string) error {
	addr, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	dead, err := b.suite(ctx, "http://"+addr+"/mcp", rev, extensions)
	if err != nil {
		return err
	}
	found := len(regressions(direct, dead))
	passed, failed := dead.counts()
	row(rev.name, "dead", "", "", passed, failed, found)
	if want := rev.direct / 3; found < want {
		return fmt.Errorf("%s: nobody answered and only %d checks are regressions: the comparison sees nothing", rev.name, found)
	}
	return nil
}

// suite runs every scenario of rev, and then each of extensions.
func (b *bench) suite(ctx context.Context, url string, rev revision, extensions []string) (results, error) {
	ctx, cancel := context.WithTimeout(ctx, runPatience)
	defer cancel()
	all, err := b.conformance(ctx, "--url", url, "--suite", "all", "--spec-version", rev.name)
	if err != nil {
		return nil, err
	}
	for _, name := range extensions {
		one, err := b.scenario(ctx, url, rev, name)
		if err != nil {
			return nil, err
		}
		all.put(name, one)
	}
	return all, nil
}

// scenario runs one scenario alone. Without --force the suite would pass over
// the extensions.
func (b *bench) scenario(ctx context.Context, url string, rev revision, name string) (results, error) {
	return b.conformance(ctx, "--url", url, "--scenario", name, "--spec-version", rev.name, "--force")
}

// conformance runs the suite. Its exit code says that a check failed, which is
// the comparison's business; a scenario that breaks off writes no results, and
// its checks are missing.
func (b *bench) conformance(ctx context.Context, args ...string) (results, error) {
	dir, err := os.MkdirTemp(b.dir, "results-")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.node, append([]string{b.script("conformance"), "server", "-o", dir}, args...)...)
	cmd.Dir = b.dir
	cmd.WaitDelay = grace
	if b.verbose {
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	}
	err = cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return nil, fmt.Errorf("the suite: %w", err)
	}
	return readResults(dir)
}

// listed is a line of the suite's list: the scenario and where it belongs.
var listed = regexp.MustCompile(`(?m)^\s+- (\S+) \[extension\]$`)

// extensions are the server scenarios outside the versions of the protocol.
func (b *bench) extensions(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, b.node, b.script("conformance"), "list", "--server").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: the suite does not run: %w\n%s", errDependency, err, out)
	}
	var names []string
	for _, m := range listed.FindAllStringSubmatch(string(out), -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the suite lists no extension:\n%s", out)
	}
	return names, nil
}
