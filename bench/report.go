package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is the result of a run. Its JSON form is what --json prints.
type report struct {
	Machine string `json:"machine"`
	Go      string `json:"go"`
	GOGC    string `json:"gogc"` // of the environment, for all processes; empty: each its own
	Answer  string `json:"answer"`
	Calls   int    `json:"calls"`  // per path, cell and round
	Rounds  int    `json:"rounds"` //
	Seconds int    `json:"seconds"`

	Goals []goal  `json:"goals"`
	Lines []line  `json:"lines"`
	Paths []total `json:"paths"`
	// Added is by how much a path's p50 exceeds the floor's where calls take turns,
	// in microseconds: the median of the rounds.
	Added map[string]float64 `json:"added_p50_us"`
	// Hostile is the processor time for each kind of hostile text against prose.
	Hostile []ratio       `json:"hostile_x_prose"`
	Session counted       `json:"one_session"` // upstream requests from its opening to its end
	Memory  memoryFigures `json:"memory"`
	Rules   ruleFigures   `json:"rules"`
	// Audited is the number of outcome records of calls in the sidecar's audit file.
	Audited int `json:"audit_records"`
}

// line is one path in one cell. Times are microseconds, medians of the rounds.
type line struct {
	Size      int     `json:"size"`
	Workers   int     `json:"workers"`
	Path      string  `json:"path"`
	CPU       float64 `json:"cpu_us"` // of the proxy, per call; 0 when not read, and on the direct path
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	PerSecond float64 `json:"calls_per_second"`

	CPURatio       ratio `json:"cpu_x_floor"`
	P50Ratio       ratio `json:"p50_x_floor"`
	P99Ratio       ratio `json:"p99_x_floor"`
	PerSecondRatio ratio `json:"calls_per_second_x_floor"`
}

// total is what a path did in the whole run, warm-up included.
type total struct {
	Path     string  `json:"path"`
	Calls    int     `json:"calls"`
	Failed   int     `json:"failed"`
	Failure  string  `json:"first_failure,omitempty"`
	Upstream counted `json:"upstream_requests"`
	// LifetimeCPU is the proxy's processor time per call from its start to its
	// end, in microseconds: the only figure on systems that do not tell it in
	// between.
	LifetimeCPU float64 `json:"lifetime_cpu_us"`
	// PeakMemory is the most resident memory that the proxy had, in bytes; 0
	// where the system does not tell. Processor time can be bought with it.
	PeakMemory int64 `json:"peak_memory"`
}

func newReport(b *bench, took time.Duration) *report {
	r := &report{
		Machine: machine(), Go: runtime.Version(), GOGC: os.Getenv("GOGC"), Answer: b.options.answer,
		Calls: b.options.calls, Rounds: b.options.rounds, Seconds: int(took.Seconds()),
		Added: map[string]float64{}, Session: b.session, Memory: b.memory, Rules: b.rules, Audited: b.audited,
	}
	for _, c := range b.cells {
		for _, p := range b.lab.paths {
			r.Lines = append(r.Lines, newLine(c, p.name, b.figures[c][p.name], b.figures[c][floorPath]))
		}
	}
	for path, each := range b.added {
		r.Added[path] = median(each)
	}
	for _, kind := range b.hostile {
		r.Hostile = append(r.Hostile, spread(kind))
	}
	served := map[*process]int{} // calls
	for _, p := range b.lab.paths {
		served[p.proxy] += b.uses[p.name].calls
	}
	for _, p := range b.lab.paths {
		u := b.uses[p.name]
		t := total{Path: p.name, Calls: u.calls, Failed: u.failed, Upstream: u.upstream, LifetimeCPU: micros(u.lifetime) / float64(served[p.proxy]), PeakMemory: u.peak}
		if u.err != nil {
			t.Failure = u.err.Error()
		}
		r.Paths = append(r.Paths, t)
	}
	r.Goals = r.judgeGoals()
	return r
}

func newLine(c cell, name string, f, floor *figures) line {
	return line{
		Size: c.size, Workers: c.workers, Path: name,
		CPU: median(f.cpu), P50: median(f.p50), P99: median(f.p99), PerSecond: median(f.perSecond),
		CPURatio: compare(f.cpu, floor.cpu), P50Ratio: compare(f.p50, floor.p50),
		P99Ratio: compare(f.p99, floor.p99), PerSecondRatio: compare(f.perSecond, floor.perSecond),
	}
}

// judge says what makes the figures worthless, if anything does.
func (r *report) judge() error {
	var failures, surprises []error
	decided := 0 // by the sidecar
	for _, t := range r.Paths {
		if t.Failed > 0 {
			failures = append(failures, fmt.Errorf("%d of %d calls over the path %q failed; the first: %s", t.Failed, t.Calls, t.Path, t.Failure))
		}
		want := counted{Calls: int64(t.Calls)}
		if t.Path == sidecarPath {
			want.Lists = 1 // its inventory, for the first call
		}
		if want.Connections = t.Upstream.Connections; t.Upstream != want {
			surprises = append(surprises, fmt.Errorf("the path %q sent %s to the upstream for %d calls, want %s", t.Path, t.Upstream, t.Calls, want))
		}
		if t.Path == sidecarPath || t.Path == sessionPath {
			decided += t.Calls
		}
	}
	if r.Audited != decided {
		surprises = append(surprises, fmt.Errorf("%d audit records for %d calls", r.Audited, decided))
	}
	if failures != nil {
		return coded(exitFailure, errors.Join(failures...))
	}
	return coded(exitUnexpected, errors.Join(surprises...))
}

func (c counted) String() string {
	return fmt.Sprintf("%d tools/call, %d tools/list and %d other requests", c.Calls, c.Lists, c.Sessions+c.Streams+c.Others)
}

func (r *report) write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	_, err := io.WriteString(w, r.text())
	return err
}

// text is the report for people.
func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mcp-sidecar bench: %s, %s\n", r.Machine, r.Go)
	fmt.Fprintf(&b, "upstream answers %s; %d rounds of %d calls a path, %d times as many at %s, fewer above %s; %d s\n",
		r.Answer, r.Rounds, r.Calls, tailCalls, sizeText(smallText), sizeText(largeText), r.Seconds)
	b.WriteString("sidecar: MCP " + stateless + "; session: MCP " + withSession + "; preset balanced, introspected bearer token, scopes, Casbin file, all guards enforced, audit file\n")
	fmt.Fprintf(&b, "floor:   httputil.ReverseProxy; %s\n", r.collector())
	b.WriteString("Only the columns \"x floor\" carry over to other machines.\n\n")
	r.writeLines(&b)
	b.WriteByte('\n')
	r.writeTotals(&b)
	b.WriteByte('\n')
	writeGoals(&b, r.Goals)
	return b.String()
}

func (r *report) collector() string {
	if r.GOGC == "" {
		return "each process with its own GC setting (GOGC=… gives all the same)"
	}
	return "all processes with GOGC=" + r.GOGC
}

func (r *report) writeLines(w io.Writer) {
	fmt.Fprintf(w, "%6s %4s  %-8s %12s %8s %10s %8s %10s %8s %9s %8s\n",
		"text", "c", "path", "CPU/call", "x floor", "p50", "x floor", "p99", "x floor", "calls/s", "x floor")
	for i, l := range r.Lines {
		if i > 0 && l.Path == directPath {
			fmt.Fprintln(w)
		}
		if l.P50 == 0 {
			continue // not measured
		}
		fmt.Fprintf(w, "%6s %4d  %-8s %12s %8s %7.0f us %8s %7.0f us %8s %9.0f %8s\n", sizeText(l.Size), l.Workers, l.Path,
			l.cpuText(), l.CPURatio, l.P50, l.P50Ratio, l.P99, l.P99Ratio, l.PerSecond, l.PerSecondRatio)
	}
}

func (l line) cpuText() string {
	switch {
	case l.Path == directPath:
		return "-"
	case l.CPU == 0:
		return "n/a"
	}
	return fmt.Sprintf("%.0f us", l.CPU)
}

func (r ratio) String() string {
	if r.Median == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", r.Median)
}

func (r *report) writeTotals(w io.Writer) {
	if !r.knowsCPU() {
		fmt.Fprintf(w, "CPU per call: %s tells it only at a program's end; start-up, warm-up and all sizes together:\n", runtime.GOOS)
		for _, t := range r.Paths {
			if t.LifetimeCPU > 0 {
				fmt.Fprintf(w, "  %-8s %6.0f us\n", t.Path, t.LifetimeCPU)
			}
		}
	}
	for _, t := range r.Paths {
		fmt.Fprintf(w, "%-8s %d calls, %d failed; upstream saw %s over %d new connections%s\n",
			t.Path+":", t.Calls, t.Failed, t.Upstream, t.Upstream.Connections, t.memoryText())
	}
	fmt.Fprintf(w, "audit:   %d records\n", r.Audited)
}

func (r *report) knowsCPU() bool {
	return slices.ContainsFunc(r.Lines, func(l line) bool { return l.CPU > 0 })
}

func (t total) memoryText() string {
	if t.PeakMemory == 0 {
		return ""
	}
	return fmt.Sprintf("; peak memory %d MB", t.PeakMemory>>20)
}

// machine names the hardware as far as the system tells it.
func machine() string {
	text := fmt.Sprintf("%s/%s, %d CPUs", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return text
	}
	for l := range strings.Lines(string(info)) {
		if name, model, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
			return text + " (" + strings.TrimSpace(model) + ")"
		}
	}
	return text
}
