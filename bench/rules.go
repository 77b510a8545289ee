package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"mcp-sidecar/policy"
)

// ruleFigures are what decisions cost under policies of several sizes. They are
// measured in this process: a decision is too short to be seen from outside.
type ruleFigures struct {
	Costs  []ruleCost  `json:"costs"` // by the number of rules, the smallest first
	Reload *ruleReload `json:"reload"`
}

// ruleCost is the cost of one decision, the median of the rounds.
type ruleCost struct {
	Rules  int     `json:"rules"`
	One    float64 `json:"one_ns"`  // the same few questions again and again
	All    float64 `json:"all_ns"`  // everybody asks in turn, so that the caches of the processor hold less and less of it
	Ratio  float64 `json:"x_small"` // One against that of the smallest policy in the same round
	Allocs float64 `json:"allocations"`
}

// ruleCounts are the sizes of the policies, in permissions.
var ruleCounts = []int{10, 1_000, 10_000, 100_000}

const (
	askers    = 1 << 13 // questions of everybody
	decisions = 1 << 16 // in one sample
)

// asked is a question whose answer is known.
type asked struct {
	subject string
	need    policy.Permission
	allowed bool
}

// rulebook is a policy of n permissions, ten for each role, one user for each, and
// what is asked under it.
type rulebook struct {
	engine   *policy.Engine
	one, all []asked
}

func newRulebook(n int) (rulebook, error) {
	engine, err := policy.Load(strings.NewReader(manyRules(n)), "policy.csv", nil)
	if err != nil {
		return rulebook{}, err
	}
	r := rulebook{engine: engine, one: []asked{
		{"user:asks", policy.Permission{Object: "docs/asked", Action: "call"}, true},  // by role and group
		{"user:asks", policy.Permission{Object: "docs/tool_3", Action: "call"}, true}, // by an inherited role
		{"user:asks", policy.Permission{Object: "docs/tool_3", Action: "read"}, false},
		{"user:none", policy.Permission{Object: "docs/asked", Action: "call"}, false},
	}}
	roles := max(1, n/10)
	for i := range askers {
		// A prime step: neighbours in memory do not ask after each other.
		role := i * 7919 % roles
		r.all = append(r.all, asked{
			fmt.Sprintf("user:%d", role),
			policy.Permission{Object: fmt.Sprintf("docs/tool_%d", role*10+i%8), Action: "call"},
			true,
		})
	}
	return r, nil
}

func manyRules(n int) string {
	var b strings.Builder
	for i := range n - 1 {
		fmt.Fprintf(&b, "p, role:%d, docs/tool_%d, call\n", i/10, i)
		if i%10 == 0 {
			fmt.Fprintf(&b, "g, user:%d, role:%d\n", i/10, i/10)
		}
	}
	b.WriteString("p, role:last, readers, call\n")
	b.WriteString("g, user:asks, role:last\ng, role:last, role:0\ng2, docs/asked, readers\n")
	return b.String()
}

// measureRules lets the policies take turns within each round.
func (b *bench) measureRules(ctx context.Context) error {
	books := make([]rulebook, len(ruleCounts))
	for i, n := range ruleCounts {
		var err error
		if books[i], err = newRulebook(n); err != nil {
			return err
		}
	}
	one, all := make([][]float64, len(books)), make([][]float64, len(books))
	allocs := make([]float64, len(books))
	for round := range b.options.rounds {
		for n := range books {
			i := (n + round) % len(books)
			o, mallocs, err := books[i].ask(books[i].one)
			a, _, also := books[i].ask(books[i].all)
			if err := errors.Join(context.Cause(ctx), err, also); err != nil {
				return err
			}
			one[i], all[i], allocs[i] = append(one[i], o), append(all[i], a), max(allocs[i], mallocs)
		}
	}
	for i, n := range ruleCounts {
		b.rules.Costs = append(b.rules.Costs, ruleCost{
			Rules: n, One: median(one[i]), All: median(all[i]), Ratio: compare(one[i], one[0]).Median, Allocs: allocs[i],
		})
	}
	return b.measureReload(ctx)
}

// ask returns what one decision took, in nanoseconds, and how often it allocated.
func (r rulebook) ask(questions []asked) (each, allocations float64, err error) {
	for range decisions / 8 { // warm
		q := questions[0]
		_ = r.engine.Decide(q.subject, q.need)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	wrong := 0
	for i := range decisions {
		q := &questions[i%len(questions)]
		if r.engine.Decide(q.subject, q.need).Allowed != q.allowed {
			wrong++
		}
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if wrong > 0 {
		return 0, 0, fmt.Errorf("%d of %d decisions were wrong", wrong, decisions)
	}
	// What the runtime allocates beside it is less than one in a thousand decisions.
	perDecision := float64((after.Mallocs-before.Mallocs)/(decisions/1000)) / 1000
	return float64(took.Nanoseconds()) / decisions, perDecision, nil
}

// ruleGoals judge the most expensive of the policies.
func (r *report) ruleGoals() []goal {
	ratio, longest, allocs := figure{unknown, ratioFigure}, figure{unknown, "%.0f ns"}, figure{unknown, "%.0f"}
	if c := r.Rules.Costs; len(c) > 0 {
		ratio.value = 0
		longest.value, allocs.value = 0, 0
		for _, one := range c {
			ratio.value = max(ratio.value, one.Ratio)
			longest.value, allocs.value = max(longest.value, one.One, one.All), max(allocs.value, one.Allocs)
		}
	}
	took, wait, wrong := figure{unknown, "%.0f ms"}, figure{unknown, ratioFigure}, figure{unknown, "%.0f"}
	if l := r.Rules.Reload; l != nil {
		took.value, wait.value, wrong.value = l.Took, l.Share, float64(l.Wrong)
	}
	return []goal{
		one("17", fmt.Sprintf("a policy decision under %d to %d rules, the same questions", ruleCounts[0], ruleCounts[len(ruleCounts)-1]), "≤ 2 ×", atMost(2), ratio),
		one("17", "the slowest of them, also where everybody asks in turn", "≤ 1000 ns", atMost(1000), longest),
		one("17", "allocations of a decision", "exactly 0", exactly(0), allocs),
		one("18", fmt.Sprintf("a changed file of %d rules, from the look that finds it to its decisions", reloadedRules), "≤ 1000 ms", atMost(1000), took),
		one("18", "the longest decision meanwhile, against the reload", "≤ 0.25 ×", atMost(0.25), wait),
		one("18", "decisions meanwhile that failed", "exactly 0", exactly(0), wrong),
	}
}
