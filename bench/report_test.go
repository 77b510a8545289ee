package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// goodTotals are those of a run in which everything is as it should be.
func goodTotals() []total {
	return []total{
		{Path: directPath, Calls: 10, Upstream: counted{Calls: 10, Connections: 1}},
		{Path: floorPath, Calls: 10, Upstream: counted{Calls: 10, Connections: 2}},
		{Path: sidecarPath, Calls: 10, Upstream: counted{Calls: 10, Lists: 1, Connections: 3}},
		{Path: sessionPath, Calls: 10, Upstream: counted{Calls: 10}},
	}
}

func TestJudge(t *testing.T) {
	for _, row := range []struct {
		name   string
		spoil  func(*report)
		code   int
		reason string
	}{
		{"as it should be", func(*report) {}, exitOK, ""},
		{"a call failed", func(r *report) { r.Paths[1].Failed, r.Paths[1].Failure = 1, "cut short" }, exitFailure, `1 of 10 calls over the path "floor" failed; the first: cut short`},
		{"a failure outweighs a wrong count", func(r *report) { r.Paths[2].Failed, r.Paths[2].Upstream.Calls = 1, 9 }, exitFailure, "failed"},
		{"a request sent twice", func(r *report) { r.Paths[2].Upstream.Calls++ }, exitUnexpected, "11 tools/call"},
		{"a request not sent", func(r *report) { r.Paths[2].Upstream.Calls-- }, exitUnexpected, "9 tools/call"},
		{"a second inventory", func(r *report) { r.Paths[2].Upstream.Lists++ }, exitUnexpected, "2 tools/list"},
		{"no inventory", func(r *report) { r.Paths[2].Upstream.Lists-- }, exitUnexpected, "0 tools/list"},
		{"an inventory of the floor's", func(r *report) { r.Paths[1].Upstream.Lists++ }, exitUnexpected, `the path "floor"`},
		{"an inventory of each session's", func(r *report) { r.Paths[3].Upstream.Lists++ }, exitUnexpected, `the path "session"`},
		{"something else", func(r *report) { r.Paths[2].Upstream.Others++ }, exitUnexpected, "1 other"},
		{"a record is missing", func(r *report) { r.Audited-- }, exitUnexpected, "19 audit records for 20 calls"},
		{"a record too many", func(r *report) { r.Audited++ }, exitUnexpected, "21 audit records for 20 calls"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &report{Paths: goodTotals(), Audited: 20}
			row.spoil(r)
			err := r.judge()
			code := exitOK
			if c := (*codedError)(nil); errors.As(err, &c) {
				code = c.code
			}
			if code != row.code || err != nil && !strings.Contains(err.Error(), row.reason) {
				t.Errorf("exit %d: %v, want %d: %s", code, err, row.code, row.reason)
			}
		})
	}
}

// sample is a run of two rounds in one cell.
func sample(cpu bool) *bench {
	c := cell{size: 10 << 10, workers: 8}
	b := &bench{
		options: options{calls: 100, rounds: 2, answer: answerSSE, sizes: []int{c.size}},
		cells:   []cell{c},
		figures: map[cell]map[string]*figures{c: {
			directPath:  {p50: []float64{50, 60}, p99: []float64{90, 95}, perSecond: []float64{2000, 1800}},
			floorPath:   {p50: []float64{100, 120}, p99: []float64{200, 220}, perSecond: []float64{1000, 900}},
			sidecarPath: {p50: []float64{150, 180}, p99: []float64{220, 242}, perSecond: []float64{800, 720}},
			sessionPath: {p50: []float64{200, 240}, p99: []float64{240, 264}, perSecond: []float64{600, 540}},
		}},
		hostile: [][]float64{{2, 4}},
		lab:     &lab{paths: []*path{{name: directPath}, {name: floorPath}, {name: sidecarPath}, {name: sessionPath}}},
		uses:    map[string]*use{},
	}
	floor, sidecar := &process{name: "floor"}, &process{name: "sidecar"}
	b.lab.paths[1].proxy, b.lab.paths[2].proxy, b.lab.paths[3].proxy = floor, sidecar, sidecar
	for _, t := range goodTotals() {
		b.uses[t.Path] = &use{calls: t.Calls, upstream: t.Upstream}
	}
	b.uses[floorPath].lifetime, b.uses[sidecarPath].lifetime = time.Millisecond, 2*time.Millisecond
	if cpu {
		b.figures[c][directPath].cpu = []float64{0, 0}
		b.figures[c][floorPath].cpu = []float64{80, 100}
		b.figures[c][sidecarPath].cpu = []float64{120, 160}
		b.figures[c][sessionPath].cpu = []float64{240, 300}
		b.uses[sidecarPath].peak = 30 << 20
	}
	return b
}

func TestText(t *testing.T) {
	text := newReport(sample(true), 5*time.Second).text()
	for _, want := range []string{
		"2 rounds of 100 calls a path, 5 times as many at 100, fewer above 50k; 5 s",
		"   10k    8  direct              -        -      55 us     0.50",
		"   10k    8  floor           90 us     1.00     110 us     1.00     210 us     1.00       950     1.00",
		"   10k    8  sidecar        140 us     1.55     165 us     1.50     231 us     1.10       760     0.80",
		"sidecar: 10 calls, 0 failed; upstream saw 10 tools/call, 1 tools/list and 0 other requests over 3 new connections; peak memory 30 MB",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	for _, want := range []string{
		"2 the same, 10 KB both ways ≤ 2.5 × floor 1.55 × 3.00 × NO",
		"13 peak resident memory of the run, 8 calls of 1 MB at once included ≤ 80 MB 30.0 MB yes",
		"14 CPU for the worst of hostile texts, 10 KB, against prose ≤ 3 × 3.00 × yes",
		"10 resident memory at rest ≤ 25 MB - not measured",
	} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
}

// TestTextWithoutCPU checks that nothing is made up where the system does not
// tell.
func TestTextWithoutCPU(t *testing.T) {
	r := newReport(sample(false), 5*time.Second)
	text := r.text()
	for _, want := range []string{"sidecar           n/a        -     165 us", "only at a program's end", "  floor       100 us\n", "  sidecar     100 us\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	for _, g := range r.Goals {
		if strings.Contains(g.What, "CPU") && g.Number != "14" && g.Met != metUnknown {
			t.Errorf("a goal that nobody measured: %+v", g)
		}
	}
	if strings.Contains(text, "peak memory 0") {
		t.Errorf("a figure that nobody measured:\n%s", text)
	}
}

func TestJSON(t *testing.T) {
	var out strings.Builder
	if err := newReport(sample(true), time.Second).write(&out, true); err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Lines) != 4 || len(got.Goals) == 0 || got.Lines[2].CPURatio.High != 1.6 || got.Paths[2].PeakMemory != 30<<20 {
		t.Errorf("read back as %+v", got)
	}
}
