// Command guards measures what the guards find, and what they take for an attack, on a
// folder of labelled texts. The texts are no part of this project.
package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"mcp-sidecar/bench/corpus"
	"mcp-sidecar/proxy/scan"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench-guards:", err)
		os.Exit(1)
	}
}

type options struct {
	dir, kind, write string
	misses           int
}

func run(args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("bench-guards", flag.ContinueOnError)
	flags.StringVar(&o.dir, "corpora", os.Getenv("CORPORA_DIR"), "`DIR` with KIND.jsonl for each kind (default from CORPORA_DIR)")
	flags.StringVar(&o.kind, "kind", "", "one `KIND` only: "+strings.Join(scan.Kinds(), ", "))
	flags.IntVar(&o.misses, "misses", 0, "print the ids of up to `N` items of each kind that were missed, and as many that were flagged wrongly")
	flags.StringVar(&o.write, "write", "", "write the figures as Markdown to `FILE`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.dir == "" {
		return fmt.Errorf("where are the labelled texts? Set CORPORA_DIR, or pass -corpora DIR")
	}
	kinds := scan.Kinds()
	if o.kind != "" {
		kinds = []string{o.kind}
	}
	var doc strings.Builder
	for _, kind := range kinds {
		items, err := corpus.Read(o.dir, kind)
		if err != nil {
			return err
		}
		r := measure(kind, items, sidecar(kind))
		names, all := compare(kind, items, r)
		section(&doc, kind, r, names, all)
		list(&doc, "missed", r.Missed, o.misses)
		list(&doc, "flagged wrongly", r.Wrong, o.misses)
	}
	if o.write == "" {
		_, err := io.WriteString(out, doc.String())
		return err
	}
	return os.WriteFile(o.write, []byte(head+doc.String()), 0o644) //nolint:gosec // a page of the documentation
}

// compare shows the same items to others.
func compare(kind string, items []corpus.Item, ours *result) (names []string, all map[string]*result) {
	all = map[string]*result{"mcp-sidecar": ours}
	others := peers(kind)
	names = append([]string{"mcp-sidecar"}, slices.Sorted(maps.Keys(others))...)
	for name, d := range others {
		all[name] = measure(kind, items, d)
	}
	return names, all
}

func list(b *strings.Builder, what string, items []corpus.Item, n int) {
	for _, i := range items[:min(n, len(items))] {
		fmt.Fprintf(b, "%s: %s %s %s %.200q\n", what, i.ID, i.Source, i.Family, i.Text)
	}
}

// detector says of a text what scan says.
type detector func(text string) scan.Verdict

func sidecar(kind string) detector {
	return func(text string) scan.Verdict {
		v, err := scan.Judge(kind, text)
		if err != nil {
			panic(err) // the kinds are those of the same package
		}
		return v
	}
}
