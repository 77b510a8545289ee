package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// goal is one line of what the sidecar must reach. Figures are text: what they are
// made of stands elsewhere in the report.
type goal struct {
	Number    string `json:"number"`
	What      string `json:"what"`
	Must      string `json:"must"`
	Stateless string `json:"stateless,omitempty"` // in the stateless revision, where the two differ
	Figure    string `json:"figure"`              // with sessions, or for both
	Met       string `json:"met"`                 // metYes, metNo, or metUnknown
	// statelessMet is the verdict about Stateless alone.
	statelessMet string
}

// Verdicts.
const (
	metYes     = "yes"
	metNo      = "NO"
	metUnknown = "not measured"
)

// Sizes that goals speak of, in bytes of text each way, beside maxSize.
const (
	smallText  = 100
	middleText = 10 << 10
)

// Forms of figures.
const (
	ratioFigure = "%.2f ×"
	megabytes   = "%.1f MB"
)

// figure is a measured value; it is not known when it is NaN.
type figure struct {
	value float64
	form  string
}

var unknown = math.NaN()

func (f figure) String() string {
	if math.IsNaN(f.value) {
		return "-"
	}
	return fmt.Sprintf(f.form, f.value)
}

// judgeGoals compares the figures with what they must be. Goals of the same number
// in other documents of the project are the same.
func (r *report) judgeGoals() []goal {
	all := []goal{
		r.both("1", "CPU per call, 100 B, median over the numbers of callers", "≤ 1.5 × floor", atMost(1.5), r.cpuGoal(smallText)),
		r.both("2", "the same, 10 KB both ways", "≤ 2.5 × floor", atMost(2.5), r.cpuGoal(middleText)),
		r.both("3", "the same, 1 MB both ways", "≤ 6 × floor", atMost(6), r.cpuGoal(maxSize)),
		r.both("3", "linear in size: CPU per byte beyond 10 KB against up to 10 KB", "≤ 1.25 ×", atMost(1.25), r.linearGoal),
		r.both("5", "added p50 over the floor's, 100 B, one caller", "≤ 80 µs", atMost(80), r.addedGoal),
		r.both("6", "p99 against the floor's, 100 B, 8 callers", "≤ 1.3 ×", atMost(1.3), r.p99Goal(8)),
		r.both("6", "the same, 32 callers", "≤ 1.3 ×", atMost(1.3), r.p99Goal(32)),
		r.both("7", "calls per second against the floor's, 100 B, 32 callers", "≥ 0.75 ×", atLeast(0.75), r.perSecondGoal),
		r.both("8", "upstream requests per call", "exactly 1", exactly(1), r.requestsGoal),
		one("8", "upstream requests per session, opened and ended", "exactly 3", exactly(3), figure{float64(r.Session.all()), "%.0f"}),
	}
	all = append(all, r.memoryGoals()...)
	hostile := figure{unknown, ratioFigure}
	for _, h := range r.Hostile {
		if h.Median > 0 && !(h.Median < hostile.value) {
			hostile.value = h.Median
		}
	}
	g := one("14", "CPU for the worst of hostile texts, 10 KB, against prose", "≤ 3 ×", atMost(3), hostile)
	all = append(all, g, statelessGoal(all), r.abortGoal())
	all = append(all, r.ruleGoals()...)
	return all
}

func atMost(limit float64) func(float64) bool  { return func(v float64) bool { return v <= limit } }
func atLeast(limit float64) func(float64) bool { return func(v float64) bool { return v >= limit } }
func exactly(want float64) func(float64) bool  { return func(v float64) bool { return v == want } }

// one is a goal with one figure.
func one(number, what, must string, ok func(float64) bool, f figure) goal {
	return goal{Number: number, What: what, Must: must, Figure: f.String(), Met: met(ok, f)}
}

// both is a goal that holds for both revisions.
func (r *report) both(number, what, must string, ok func(float64) bool, of func(path string) figure) goal {
	stateless, session := of(sidecarPath), of(sessionPath)
	g := one(number, what, must, ok, session)
	g.Stateless, g.statelessMet = stateless.String(), met(ok, stateless)
	if g.Met == metYes {
		g.Met = g.statelessMet
	}
	return g
}

func met(ok func(float64) bool, f figure) string {
	switch {
	case math.IsNaN(f.value):
		return metUnknown
	case ok(f.value):
		return metYes
	}
	return metNo
}

// lines are those of one path and size.
func (r *report) lines(path string, size int) []line {
	var all []line
	for _, l := range r.Lines {
		if l.Path == path && l.Size == size && l.P50 > 0 {
			all = append(all, l)
		}
	}
	return all
}

func (r *report) line(path string, size, workers int) (line, bool) {
	for _, l := range r.lines(path, size) {
		if l.Workers == workers {
			return l, true
		}
	}
	return line{}, false
}

func (r *report) cpuGoal(size int) func(string) figure {
	return func(path string) figure {
		var ratios []ratio
		for _, l := range r.lines(path, size) {
			ratios = append(ratios, l.CPURatio)
		}
		return known(over(ratios).Median, ratioFigure)
	}
}

// known takes 0 for not measured.
func known(v float64, form string) figure {
	if v == 0 {
		v = unknown
	}
	return figure{v, form}
}

// linearGoal compares what a byte more costs: the difference of two sizes leaves
// out what each call costs whatever its size.
func (r *report) linearGoal(path string) figure {
	const workers = 8
	small, ok := r.line(path, smallText, workers)
	middle, also := r.line(path, middleText, workers)
	large, too := r.line(path, maxSize, workers)
	if !ok || !also || !too || small.CPU == 0 {
		return figure{unknown, ratioFigure}
	}
	perByte := func(a, b line) float64 { return (b.CPU - a.CPU) / float64(b.Size-a.Size) }
	return figure{perByte(middle, large) / perByte(small, middle), ratioFigure}
}

func (r *report) addedGoal(path string) figure {
	added, ok := r.Added[path]
	if !ok {
		added = unknown
	}
	return figure{added, "%.0f µs"}
}

func (r *report) p99Goal(workers int) func(string) figure {
	return func(path string) figure {
		l, _ := r.line(path, smallText, workers)
		return known(l.P99Ratio.Median, ratioFigure)
	}
}

func (r *report) perSecondGoal(path string) figure {
	l, _ := r.line(path, smallText, 32)
	return known(l.PerSecondRatio.Median, ratioFigure)
}

// requestsGoal leaves out the one tools/list of the sidecar's own.
func (r *report) requestsGoal(path string) figure {
	for _, t := range r.Paths {
		if t.Path == path && t.Calls > 0 {
			return figure{float64(t.Upstream.all()-t.Upstream.Lists) / float64(t.Calls), "%.4g"}
		}
	}
	return figure{unknown, "%.4g"}
}

// all is the number of requests.
func (c counted) all() int64 { return c.Calls + c.Lists + c.Sessions + c.Streams + c.Others }

func mega(bytes int64) figure { return known(float64(bytes)/(1<<20), megabytes) }

func (r *report) memoryGoals() []goal {
	m := r.Memory
	kilo := func(bytes float64) figure {
		if m.Base == 0 {
			bytes = unknown
		}
		return figure{bytes / (1 << 10), "%.1f KB"}
	}
	tools := figure{unknown, ratioFigure}
	if m.Session > 0 {
		tools.value = m.ManyTools / m.Session
	}
	all := []goal{
		one("10", "resident memory at rest", "≤ 25 MB", atMost(25), mega(m.Base)),
		one("10", "memory per idle session", "≤ 4 KB", atMost(4), kilo(m.Session)),
		one("10", "memory per session with an open stream", "≤ 60 KB", atMost(60), kilo(m.Stream)),
		one("11", fmt.Sprintf("memory per session, %d tools against %d", manyTools, fewTools), "≤ 1.5 ×", atMost(1.5), tools),
		one("11", "memory that a second wave of sessions adds, per session", "≤ 1 KB", atMost(1), kilo(m.SecondWave)),
	}
	for _, t := range r.Paths {
		if t.Path == sidecarPath {
			all = append(all, one("13", "peak resident memory of the run, 8 calls of 1 MB at once included", "≤ 80 MB", atMost(80), mega(t.PeakMemory)))
		}
	}
	for _, f := range m.Floods {
		g := one("13", fmt.Sprintf("growth for an answer of %d MB (%s), which is refused", floodBytes>>20, f.Shape), "≤ 32 MB", atMost(32), mega(max(1, f.Growth)))
		g.Figure += "; " + f.Answer
		all = append(all, g)
	}
	return all
}

// statelessGoal sums up what the goals say of the stateless revision.
func statelessGoal(all []goal) goal {
	g := goal{Number: "15", What: "the stateless revision (" + stateless + "): 1 to 7 hold", Must: "as above", Figure: "see above", Met: metYes}
	for _, other := range all {
		if m := other.statelessMet; m == metNo || m == metUnknown && g.Met == metYes {
			g.Met = m
		}
	}
	return g
}

func (r *report) abortGoal() goal {
	g := goal{Number: "16", What: "aborted calls, upstream answers SSE, busy processors", Must: "0 in 100,000", Met: metYes}
	calls, failed := 0, 0
	for _, t := range r.Paths {
		if t.Path == sidecarPath || t.Path == sessionPath {
			calls, failed = calls+t.Calls, failed+t.Failed
		}
	}
	g.Figure = fmt.Sprintf("%d in %d", failed, calls)
	switch {
	case r.Answer != answerSSE, calls < 100_000 && failed == 0:
		g.Met = metUnknown
	case failed > 0:
		g.Met = metNo
	}
	return g
}

func writeGoals(w io.Writer, all []goal) {
	rows := [][]string{{"goal", "", "must", stateless, withSession, "met"}}
	for _, g := range all {
		rows = append(rows, []string{g.Number, g.What, g.Must, g.Stateless, g.Figure, g.Met})
	}
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell + strings.Repeat(" ", width[i]-len([]rune(cell))+2))
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
