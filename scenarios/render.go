package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// The text has one line for each request that went through the sidecar. What the
// same request did on the naive server, and what was measured, stands below it,
// further to the right.
const below = "      "

// renderTools prints what alice sees when she connects.
func renderTools(w io.Writer, seen toolsSeen) {
	fmt.Fprintf(w, "Connected to MCP server. It exposes %d tools:\n", len(seen.Proxied))
	for _, name := range seen.Proxied {
		fmt.Fprintf(w, "  - %s\n", name)
	}
	if slices.Equal(seen.Direct, seen.Proxied) {
		fmt.Fprintf(w, "%sdirect: the same %d tools\n", below, len(seen.Direct))
	} else {
		fmt.Fprintf(w, "%sdirect: %s\n", below, strings.Join(seen.Direct, ", "))
	}
	fmt.Fprintf(w, "%s(each line: the answer through the sidecar; direct: the same request to the naive server; effect: what was measured)\n", below)
	renderProblems(w, seen.Problems)
}

// renderSection prints one scenario.
func renderSection(w io.Writer, s *section) {
	if s.Name == matrixName {
		fmt.Fprintln(w, s.Title)
	} else {
		fmt.Fprintf(w, "=== %s ===\n", s.Title)
	}
	for i := 0; i < len(s.Cases); {
		row := cellsOf(s.Cases[i:])
		if len(row) == 0 {
			renderCase(w, &s.Cases[i])
			i++
			continue
		}
		renderRow(w, row)
		i += len(row)
	}
}

// cellsOf returns the leading cases that are cells of one user's row.
func cellsOf(cases []result) []result {
	n := 0
	for n < len(cases) && cases[n].trial.cell != "" && cases[n].trial.user == cases[0].trial.user {
		n++
	}
	return cases[:n]
}

// renderRow prints the cells of one user of the matrix.
func renderRow(w io.Writer, cells []result) {
	var proxied, direct, doneDirect, doneProxied []string
	var problems []string
	for _, c := range cells {
		action := c.trial.cell
		proxied = append(proxied, fmt.Sprintf("%s %-8s", action, c.Proxied.Answer.Outcome))
		direct = append(direct, fmt.Sprintf("%s %-8s", action, c.Direct.Answer.Outcome))
		for _, m := range c.Effects {
			doneDirect = append(doneDirect, done(action, m.Direct)...)
			doneProxied = append(doneProxied, done(action, m.Proxied)...)
		}
		for _, p := range c.Problems {
			problems = append(problems, action+": "+p)
		}
	}
	line := func(cells []string) string { return strings.TrimRight(strings.Join(cells, " "), " ") }
	fmt.Fprintf(w, "  %s %s\n", rowTitle(cells[0].trial.user), line(proxied))
	fmt.Fprintf(w, "%sdirect: %s\n", below, line(direct))
	fmt.Fprintf(w, "%seffect: %s: direct=%s, proxied=%s\n", below, carriedOutName, list(doneDirect), list(doneProxied))
	renderProblems(w, problems)
}

// done returns the action if it was carried out, and what else was measured.
func done(action, value string) []string {
	switch value {
	case "yes":
		return []string{action}
	case "no":
		return nil
	}
	return []string{action + " " + value}
}

func list(words []string) string {
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, " ")
}

func rowTitle(user string) string {
	for _, row := range rows {
		if row.user == user {
			return row.title
		}
	}
	return user
}

// renderCase prints one case outside the matrix.
func renderCase(w io.Writer, r *result) {
	if r.trial.before != "" {
		fmt.Fprintf(w, "  %s %s\n", r.trial.before, oneLine(r.trial.document))
	}
	show := verdict
	if r.trial.plain {
		show = func(a answer) string { return oneLine(a.Text) }
	}
	if r.Skipped {
		fmt.Fprintf(w, "  %s %s\n", r.trial.label, verdict(answer{notRun, "it needs servers that the demo starts"}))
		return
	}
	fmt.Fprintf(w, "  %s %s\n", r.trial.label, show(r.Proxied.Answer))
	fmt.Fprintf(w, "%s%s: %s\n", below, directly(r.trial.way), show(r.Direct.Answer))
	for _, m := range r.Effects {
		fmt.Fprintf(w, "%seffect: %s: direct=%s, proxied=%s\n", below, m.Name, oneLine(m.Direct), oneLine(m.Proxied))
	}
	renderProblems(w, r.Problems)
}

func directly(way string) string {
	if way == "" {
		return "direct"
	}
	return "direct, " + way
}

func renderProblems(w io.Writer, problems []string) {
	for _, p := range problems {
		fmt.Fprintf(w, "%sUNEXPECTED: %s\n", below, p)
	}
}

// renderSummary prints the last line.
func renderSummary(w io.Writer, s summary) {
	legitimate := fmt.Sprintf("%d", s.Legitimate)
	if s.LegitimatePassed != s.Legitimate {
		legitimate = fmt.Sprintf("%d of %d", s.LegitimatePassed, s.Legitimate)
	}
	fmt.Fprintf(w, "\n%d sections, %d attacks: %d succeed directly, %d through the sidecar; %s legitimate calls pass both ways\n",
		s.Sections, s.Attacks, s.AttacksDirect, s.AttacksProxied, legitimate)
	if s.Unexpected > 0 {
		fmt.Fprintf(w, "%d not as expected: see UNEXPECTED above\n", s.Unexpected)
	}
}

func verdict(a answer) string {
	return fmt.Sprintf("%-8s | %s", a.Outcome, oneLine(a.Text))
}

// oneLine shows newlines as ⏎. Other control characters, which a hostile server
// may send to a terminal, are shown as escapes.
func oneLine(text string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(text, "\n", " ⏎ ") {
		switch {
		case r < ' ' || r >= 0x7f && r < 0xa0:
			fmt.Fprintf(&b, `\x%02x`, r)
		case 0xe0000 <= r && r < 0xe0080: // spells what nobody sees
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
