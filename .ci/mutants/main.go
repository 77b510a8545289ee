// Command mutants removes one security check at a time and runs the tests that
// must notice. A mutant that no test kills is a check that nothing holds in
// place.
//
//	go run ./.ci/mutants                    all of them
//	go run ./.ci/mutants -run 'credential'  those whose name matches
//	go run ./.ci/mutants -list              their names
//	go run ./.ci/mutants -check             no tests: only whether the code still holds each old text
//	go run ./.ci/mutants -compile           no tests: only whether each of them compiles
//
// The list is in the files list_*.go. The tree is never touched: each mutant is
// a copy of one file that go test reads in its place (-overlay). Exit code 1
// means that a mutant survived, that one does not compile, that the tests are
// red without any, or that an old text is not found exactly once: then the code
// has changed and the mutant has to follow.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// mutant is one check that is removed or turned around.
type mutant struct {
	name string
	file string // from the module's root
	old  string // occurs exactly once in file
	new  string
	pkgs []string // whose tests must turn red, the fastest first: one of them is enough
	run  string   // only these tests; empty means all
}

// patience bounds one run of go test: a check may be what keeps a test from
// waiting for ever.
const patience = "90s"

func main() {
	pattern := flag.String("run", "", "run only mutants whose name matches `REGEXP`")
	list := flag.Bool("list", false, "list the mutants and stop")
	check := flag.Bool("check", false, "look for old texts that the code no longer holds, and stop")
	compile := flag.Bool("compile", false, "look for mutants that do not compile, and stop")
	jobs := flag.Int("j", max(1, runtime.NumCPU()/2), "run `N` mutants at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	selected, err := choose(*pattern)
	switch {
	case err != nil || flag.NArg() > 0:
		fmt.Fprintln(os.Stderr, "mutants:", errors.Join(err, usage()))
		os.Exit(2)
	case *check:
		err = checkFresh(selected)
	case *list:
		for _, m := range selected {
			fmt.Printf("%-60s %s\n", m.name, m.file)
		}
	case *compile:
		err = checkCompiles(ctx, selected)
	default:
		err = run(ctx, selected, *jobs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func usage() error {
	if flag.NArg() == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q", flag.Arg(0))
}

// choose returns the mutants that pattern selects. Names must be unique.
func choose(pattern string) ([]mutant, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var selected []mutant
	for _, m := range slices.Concat(wireMutants, pipelineMutants, streamMutants, outputMutants, callerMutants, identityMutants, issuerMutants, edgeMutants, lifeMutants, pipeMutants, stdioMutants, guardMutants, mergeMutants, carrierMutants, canaryMutants, brokerMutants, scenarioMutants, credentialMutants, printMutants, toolMutants, policyMutants, scanMutants, readingMutants, egressMutants, exceptMutants, inputSchemaMutants) {
		if seen[m.name] {
			return nil, fmt.Errorf("two mutants are called %q", m.name)
		}
		if seen[m.name] = true; re.MatchString(m.name) {
			selected = append(selected, m)
		}
	}
	return selected, nil
}

func run(ctx context.Context, selected []mutant, jobs int) error {
	if err := checkFresh(selected); err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if err := checkGreen(ctx, root, selected); err != nil {
		return err
	}
	begun := time.Now()
	bad := tryAll(ctx, root, selected, jobs)
	fmt.Printf("%d mutants, %d killed, %d not, %v\n", len(selected), len(selected)-len(bad), len(bad), time.Since(begun).Round(time.Second))
	if len(bad) > 0 {
		return fmt.Errorf("not killed:\n  %s", strings.Join(bad, "\n  "))
	}
	return ctx.Err()
}

// moduleRoot is the folder of go.mod, from wherever the command was started.
func moduleRoot() (string, error) {
	out, err := exec.CommandContext(context.Background(), "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if file == "" || file == os.DevNull {
		return "", errors.New("not inside a Go module")
	}
	return filepath.Dir(file), nil
}

// checkFresh says which mutants the code has left behind.
func checkFresh(selected []mutant) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if stale := findStale(root, selected); len(stale) > 0 {
		return fmt.Errorf("%d mutants are stale:\n%s", len(stale), strings.Join(stale, "\n"))
	}
	return nil
}

func findStale(root string, selected []mutant) []string {
	var stale []string
	for _, m := range selected {
		text, err := os.ReadFile(filepath.Join(root, m.file))
		switch n := bytes.Count(text, []byte(m.old)); {
		case err != nil:
			stale = append(stale, fmt.Sprintf("  %s: %v", m.name, err))
		case n != 1:
			stale = append(stale, fmt.Sprintf("  %s: %s holds the old text %d times", m.name, m.file, n))
		case m.old == m.new:
			stale = append(stale, fmt.Sprintf("  %s: changes nothing", m.name))
		}
	}
	return stale
}

// checkCompiles says which mutants would be killed by the compiler, which knows of
// no check.
func checkCompiles(ctx context.Context, all []mutant) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range all {
		if out, err := build(ctx, root, m); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w\n%s", m.name, err, out))
		}
	}
	return errors.Join(errs...)
}

func build(ctx context.Context, root string, m mutant) ([]byte, error) {
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := writeOverlay(root, dir, m)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", os.DevNull, "./"+filepath.ToSlash(filepath.Dir(m.file)))
	cmd.Dir = root
	return cmd.CombinedOutput()
}

// checkGreen runs the tests without a mutant: a red test would kill them all.
func checkGreen(ctx context.Context, root string, selected []mutant) error {
	var pkgs []string
	for _, m := range selected {
		pkgs = append(pkgs, m.pkgs...)
	}
	slices.Sort(pkgs)
	pkgs = slices.Compact(pkgs)
	if len(pkgs) == 0 {
		return errors.New("nothing is selected")
	}
	out, err := goTest(ctx, root, "", append([]string{"-timeout", "10m"}, pkgs...))
	if err != nil {
		return fmt.Errorf("the tests are red without a mutant: %w\n%s", err, out)
	}
	return nil
}

// tryAll runs jobs mutants at a time and returns those that were not killed.
func tryAll(ctx context.Context, root string, selected []mutant, jobs int) []string {
	var mu sync.Mutex
	var bad []string
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(1, jobs))
	for _, m := range selected {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			begun := time.Now()
			verdict := try(ctx, root, m)
			mu.Lock()
			defer mu.Unlock()
			fmt.Printf("%-9s %-60s %5.1fs\n", verdict, m.name, time.Since(begun).Seconds())
			if verdict != killed && verdict != hung {
				bad = append(bad, m.name+": "+verdict)
			}
		})
	}
	wg.Wait()
	return bad
}

// Verdicts.
const (
	killed   = "killed"
	hung     = "hung" // killed too, by a test that never ended, if nothing else kept it from ending
	survived = "SURVIVED"
	broken   = "BROKEN" // does not compile, or could not be run
)

// try runs the tests of one mutant.
func try(ctx context.Context, root string, m mutant) string {
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return broken + " " + err.Error()
	}
	defer func() { _ = os.RemoveAll(dir) }()
	overlay, err := writeOverlay(root, dir, m)
	if err != nil {
		return broken + " " + err.Error()
	}
	args := []string{"-failfast", "-timeout", patience}
	if m.run != "" {
		args = append(args, "-run", m.run)
	}
	for _, pkg := range m.pkgs {
		out, err := goTest(ctx, root, overlay, append(slices.Clone(args), pkg))
		switch {
		case err == nil:
			continue // the next package may notice
		case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")), ctx.Err() != nil:
			return broken + "\n" + string(out)
		case bytes.Contains(out, []byte("panic: test timed out after "+patience)):
			return hung
		}
		return killed
	}
	return survived
}

// writeOverlay writes the changed copy and the file that go test reads about it.
func writeOverlay(root, dir string, m mutant) (string, error) {
	original := filepath.Join(root, m.file)
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		return "", err
	}
	spec, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, spec, 0o600)
}

func goTest(ctx context.Context, root, overlay string, args []string) ([]byte, error) {
	// Without symbols the linker, which takes longest, is faster.
	all := []string{"test", "-short", "-count=1", "-vet=off", "-ldflags=-s -w"}
	if overlay != "" {
		all = append(all, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(all, args...)...)
	cmd.Dir = root
	return cmd.CombinedOutput()
}
