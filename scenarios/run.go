package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// runner sends every trial both ways and judges what came back.
type runner struct {
	direct, proxied         *column
	httpDirect, httpProxied *column // of trials that need HTTP; may be the same

	// level keeps the IDs of all columns equal: a creation that only the naive
	// server carries out is followed by a filler elsewhere. It is off for
	// servers that were started elsewhere, whose IDs may be far apart.
	level bool
}

// run works through chosen and shows each section as soon as it is complete. It
// ends early only when ctx does.
func (r *runner) run(ctx context.Context, chosen []scenario, show func(*report, *section)) (*report, error) {
	rep := &report{Version: reportVersion, Kind: reportKind}
	if err := r.tools(ctx, &rep.Tools); err != nil {
		return nil, err
	}
	show(rep, nil)
	for _, s := range chosen {
		sec := section{Name: s.name, Title: s.title}
		for _, t := range s.trials {
			sec.Cases = append(sec.Cases, r.trial(ctx, t))
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
		show(rep, &sec)
		rep.Sections = append(rep.Sections, sec)
	}
	rep.Summary = summarize(rep)
	rep.OK = rep.Summary.Unexpected == 0
	return rep, nil
}

// tools lists alice's tools both ways.
func (r *runner) tools(ctx context.Context, seen *toolsSeen) (err error) {
	if seen.Direct, err = r.direct.users["alice"].tools(ctx); err != nil {
		return fmt.Errorf("direct: %w", err)
	}
	if seen.Proxied, err = r.proxied.users["alice"].tools(ctx); err != nil {
		return fmt.Errorf("proxied: %w", err)
	}
	if !slices.Equal(seen.Direct, toolNames) {
		seen.Problems = append(seen.Problems, fmt.Sprintf("direct: want tools %q", toolNames))
	}
	if !slices.Equal(seen.Proxied, toolNames) {
		seen.Problems = append(seen.Problems, fmt.Sprintf("proxied: want tools %q", toolNames))
	}
	return nil
}

// columns are those of t.
func (r *runner) columns(t trial) (direct, proxied *column) {
	if t.overHTTP {
		return r.httpDirect, r.httpProxied
	}
	return r.direct, r.proxied
}

// trial sends t both ways, measures the effects and compares all of it with what
// is expected.
func (r *runner) trial(ctx context.Context, t trial) result {
	directly, through := r.columns(t)
	if t.own && !r.level {
		return result{Case: t.title(), Attack: t.harmful, OK: true, Skipped: true, Request: t.request(), trial: t}
	}
	direct, proxied := directly.perform(ctx, t), through.perform(ctx, t)
	res := result{
		Case:    t.title(),
		Attack:  t.harmful,
		Request: t.request(),
		Direct:  side{direct.id, direct.answer, t.direct.fill(direct)},
		Proxied: side{proxied.id, proxied.answer, t.proxied.fill(proxied)},
		trial:   t,
	}
	for _, e := range t.effects {
		res.Effects = append(res.Effects, measured{
			Name:            e.name,
			Direct:          e.measure(ctx, directly, direct),
			Proxied:         e.measure(ctx, through, proxied),
			ExpectedDirect:  e.direct,
			ExpectedProxied: e.proxied,
		})
	}
	res.judge()
	if err := r.alignIDs(ctx); err != nil {
		res.Problems = append(res.Problems, err.Error())
	}
	res.OK = len(res.Problems) == 0
	return res
}

// alignIDs creates fillers in the columns that have made fewer documents.
func (r *runner) alignIDs(ctx context.Context) error {
	if !r.level {
		return nil
	}
	all := []*column{r.direct, r.proxied, r.httpDirect, r.httpProxied}
	last := 0
	for _, c := range all {
		last = max(last, c.last)
	}
	for _, c := range all {
		for c.last < last {
			if _, err := c.create(ctx, "filler, so that IDs stay equal"); err != nil {
				return fmt.Errorf("%s: aligning IDs: %w", c.name, err)
			}
		}
	}
	return nil
}

// title names the trial without the padding and punctuation of its line.
func (t trial) title() string {
	if t.cell != "" {
		return t.user + " " + t.cell
	}
	return strings.TrimRight(t.label, " ->:")
}

func (t trial) request() request {
	return request{User: t.user, Token: t.tokenTitle(), Way: t.way, Headers: t.headers, Tool: t.tool, Arguments: t.args}
}

func (t trial) tokenTitle() string {
	switch {
	case t.logsIn:
		return "from a login"
	case t.token == "":
		return t.user + "'s own"
	}
	return t.token
}

// fill puts the real IDs into an expected answer.
func (a answer) fill(e event) answer {
	id, _ := namedID(e.answer.Text)
	ids := strings.NewReplacer("{database}", e.database, "{id}", strconv.Itoa(e.id), "{new}", strconv.Itoa(id))
	return answer{a.Outcome, ids.Replace(a.Text)}
}

// judge notes every difference from what is expected.
func (r *result) judge() {
	note := func(what, got, want string) {
		if got != want && got != notMeasured {
			r.Problems = append(r.Problems, fmt.Sprintf("%s: got %s, want %s", what, got, want))
		}
	}
	note("direct", verdict(r.Direct.Answer), verdict(r.Direct.Expected))
	note("proxied", verdict(r.Proxied.Answer), verdict(r.Proxied.Expected))
	for _, m := range r.Effects {
		note("direct effect, "+m.Name, oneLine(m.Direct), m.ExpectedDirect)
		note("proxied effect, "+m.Name, oneLine(m.Proxied), m.ExpectedProxied)
	}
}

// workedDirectly reports whether an attack did everything it set out to do.
func (r *result) workedDirectly() bool {
	for _, m := range r.Effects {
		if m.decisive() && m.Direct != notMeasured && m.Direct != m.ExpectedDirect {
			return false
		}
	}
	return r.Direct.Answer.Outcome == r.Direct.Expected.Outcome
}

// workedThroughSidecar reports whether an attack did anything at all. Without a
// measurement, getting an answer counts, unless it is the one that a harmless
// answer would be.
func (r *result) workedThroughSidecar() bool {
	looked := false
	for _, m := range r.Effects {
		if !m.decisive() || m.Proxied == notMeasured {
			continue
		}
		looked = true
		if m.Proxied != m.ExpectedProxied {
			return true
		}
	}
	return !looked && r.Proxied.Answer.Outcome == allowed && r.Proxied.Answer != r.Proxied.Expected
}

// decisive reports whether the effect tells an attack that worked from one that
// was stopped.
func (m measured) decisive() bool { return m.ExpectedDirect != m.ExpectedProxied }

func summarize(rep *report) summary {
	s := summary{Sections: len(rep.Sections)}
	if len(rep.Tools.Problems) > 0 {
		s.Unexpected++
	}
	for _, sec := range rep.Sections {
		for _, r := range sec.Cases {
			s.add(&r)
		}
	}
	return s
}

func (s *summary) add(r *result) {
	if !r.OK {
		s.Unexpected++
	}
	switch {
	case r.Skipped:
	case !r.Attack:
		s.Legitimate++
		if r.Direct.Answer.Outcome == allowed && r.Proxied.Answer.Outcome == allowed {
			s.LegitimatePassed++
		}
	default:
		s.Attacks++
		if r.workedDirectly() {
			s.AttacksDirect++
		}
		if r.workedThroughSidecar() {
			s.AttacksProxied++
		}
	}
}
