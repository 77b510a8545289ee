package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// unmet names the goals that are not met. What was not measured is no failure.
func unmet(all []goal) error {
	var errs []error
	for _, g := range all {
		if g.Met == metNo {
			errs = append(errs, fmt.Errorf("goal %s (%s) is not met: %s %s, want %s", g.Number, g.What, g.Stateless, g.Figure, g.Must))
		}
	}
	return errors.Join(errs...)
}

// document is the report as Markdown. args are those of the command line.
func (r *report) document(args []string) string {
	var b strings.Builder
	b.WriteString("# What the sidecar costs\n\nWritten by `make bench BENCHARGS=\"" + strings.Join(args, " ") + "\"`. Do not edit.\n\n")
	fmt.Fprintf(&b, "Measured in one run of %d s on %s, %s; the upstream answered %s. Every process is real and on loopback; each call's answer is compared byte for byte. "+
		"The ways take turns within each of %d rounds, in an order that rotates, and a ratio is the median of the rounds' own ratios: machines differ and are busy, so only ratios carry over.\n\n",
		r.Seconds, r.Machine, r.Go, strings.ToUpper(r.Answer), r.Rounds)
	b.WriteString("The *floor* is a plain `httputil.ReverseProxy` in front of the same upstream, with buffered bodies and kept connections. The sidecar runs with the preset `balanced`: bearer token by introspection (cached), scopes, Casbin policy from a file, every guard enforcing, one audit record per call.\n\n")
	b.WriteString("## Goals\n\nOne figure counts for both revisions of MCP, or for no call in particular. CPU is the proxy's processor time, user and system. Memory per session and per stream is that of a sidecar with " + eager + ", which holds little more than what is in use; at its own setting Go keeps up to as much again.\n\n")
	rows := [][]string{{"Goal", "What", "Must", stateless, withSession, "Met"}}
	for _, g := range r.Goals {
		rows = append(rows, []string{g.Number, g.What, g.Must, g.Stateless, g.Figure, g.Met})
	}
	writeTable(&b, rows)
	b.WriteString("\n## Figures\n\nText of the given size in the request and again in the answer; *c* callers with one call at a time each. `sidecar` speaks " + stateless + ", `session` " + withSession + ".\n\n")
	rows = [][]string{{"Text", "c", "Way", "CPU per call", "× floor", "p50", "× floor", "p99", "× floor", "calls/s", "× floor"}}
	for _, l := range r.Lines {
		if l.P50 > 0 {
			rows = append(rows, []string{sizeText(l.Size), fmt.Sprint(l.Workers), l.Path, l.cpuText(), l.CPURatio.String(), fmt.Sprintf("%.0f us", l.P50), l.P50Ratio.String(),
				fmt.Sprintf("%.0f us", l.P99), l.P99Ratio.String(), fmt.Sprintf("%.0f", l.PerSecond), l.PerSecondRatio.String()})
		}
	}
	writeTable(&b, rows)
	b.WriteString("\n")
	rows = [][]string{{"Rules of the policy", "a decision", "× the smallest", "everybody asks in turn"}}
	for _, c := range r.Rules.Costs {
		rows = append(rows, []string{fmt.Sprint(c.Rules), fmt.Sprintf("%.0f ns", c.One), fmt.Sprintf("%.2f", c.Ratio), fmt.Sprintf("%.0f ns", c.All)})
	}
	writeTable(&b, rows)
	b.WriteString("\nWhere thousands of users ask in turn, a large policy no longer fits the processor's caches; the number of steps is the same.\n\n")
	if l := r.Rules.Reload; l != nil {
		fmt.Fprintf(&b, "A changed file of %d rules is in force %.0f ms after the look that finds it; %d decisions were made meanwhile, %d of them failed, and the longest of a round took %.2f ms.\n\n", reloadedRules, l.Took, l.Decisions, l.Wrong, l.Wait)
	}
	b.WriteString("```\n")
	r.writeTotals(&b)
	b.WriteString("```\n\nHostile texts of " + sizeText(hostileSize) + " against prose, CPU through the sidecar: ")
	for i, h := range r.Hostile {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s ×", attackNames[i], h)
	}
	fmt.Fprintf(&b, ". The garbage collector: %s. GOMAXPROCS %d.\n", r.collector(), runtime.GOMAXPROCS(0))
	return b.String()
}

func writeTable(b *strings.Builder, rows [][]string) {
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|-", len(row)) + "|\n")
		}
	}
}
