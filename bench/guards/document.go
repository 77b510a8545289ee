package main

import (
	"fmt"
	"slices"
	"strings"

	"mcp-sidecar/bench/corpus"
	"mcp-sidecar/proxy/scan"
)

const head = "# What the guards find\n\nWritten by `make bench-guards BENCHARGS=\"-write docs/guard-quality.md\"`. Do not edit.\n\n" +
	"Measured on labelled public examples (development data: the guards were built with them, so on texts that nobody has seen they find less). " +
	"*Recall* is the share of attacks that are found, *wrong* the share of harmless texts that are flagged. The mean is over sources, so that a large one does not decide. " +
	"*Leaked* is the share of exact secrets that still stand in the redacted text, *kept* the share of what stands beside them that is still there. " +
	"Others are asked about the same texts in the same run.\n\n"

// section is a kind's part of the document.
func section(b *strings.Builder, kind string, r *result, names []string, all map[string]*result) {
	fmt.Fprintf(b, "## %s\n\n", kind)
	rows := [][]string{{"", "recall", "mean of sources", "wrong", "precision", "F1", "AUC", "µs per KB"}}
	if kind == scan.Secret {
		rows[0] = append(rows[0], "leaked", "kept")
	}
	for _, name := range names {
		r := all[name]
		row := []string{name, percent(r.All.recall(), r.All.Attacks), percent(r.mean(), r.All.Attacks), percent(r.All.wrong(), r.All.Benign), percent(r.All.precision(), r.All.Caught), fmt.Sprintf("%.3f", r.All.f1()/100), fmt.Sprintf("%.3f", r.All.AUC), fmt.Sprintf("%.1f", r.All.perKB())}
		if kind == scan.Secret {
			row = append(row, percent(r.All.leak(), r.All.Secrets), percent(r.All.kept(), r.All.Around))
		}
		rows = append(rows, row)
	}
	table(b, rows)
	rows = [][]string{{"source", "attacks", "recall", "harmless", "wrong"}}
	if kind == scan.Secret {
		rows[0] = append(rows[0], "leaked", "kept")
	}
	for _, source := range r.sources() {
		f := r.Sources[source]
		row := []string{source, fmt.Sprint(f.Attacks), percent(f.recall(), f.Attacks), fmt.Sprint(f.Benign), percent(f.wrong(), f.Benign)}
		if kind == scan.Secret {
			row = append(row, percent(f.leak(), f.Secrets), percent(f.kept(), f.Around))
		}
		rows = append(rows, row)
	}
	table(b, rows)
	if missed := families(r.Missed); len(missed) > 0 {
		fmt.Fprintf(b, "Missed, by source and family: %s.\n\n", strings.Join(missed, "; "))
	}
}

// maxFamilies bounds the families of misses that are named.
const maxFamilies = 40

// families counts misses.
func families(items []corpus.Item) (list []string) {
	count := map[string]int{}
	for _, i := range items {
		name := i.Source
		if i.Family != "" {
			name += " " + strings.Join(strings.Fields(strings.NewReplacer("|", " ", "`", "'", "<", "(", ">", ")").Replace(i.Family)), " ")
		}
		count[name]++
	}
	for name, n := range count {
		list = append(list, fmt.Sprintf("%s (%d)", name, n))
	}
	slices.Sort(list)
	if more := len(list) - maxFamilies; more > 0 {
		list = append(list[:maxFamilies], fmt.Sprintf("%d more", more))
	}
	return list
}

// percent is a share of whole; without anything to share there is none.
func percent(p float64, whole int) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", p)
}

func table(b *strings.Builder, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(b, "|%s\n", strings.Repeat("-|", len(row)))
		}
	}
	b.WriteString("\n")
}
