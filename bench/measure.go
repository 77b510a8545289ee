package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// cell is one line of the table, without its path.
type cell struct{ size, workers int }

// figures are what the rounds measured for one path in one cell, one value a
// round.
type figures struct {
	cpu       []float64 // microseconds per call; empty where it cannot be read
	p50, p99  []float64 // microseconds
	perSecond []float64
}

// use is what one path asked of the upstream in the whole run, warm-up included.
type use struct {
	calls    int // made by clients
	failed   int
	err      error // the first failure
	upstream counted
	lifetime time.Duration // processor time of the path's proxy, start to end
	peak     int64         // resident memory of the path's proxy, in bytes; 0: not known
}

// bench is one run.
type bench struct {
	lab     *lab
	options options
	cells   []cell
	texts   map[int][]exchange // by size
	figures map[cell]map[string]*figures
	uses    map[string]*use
	audited int
}

// measure does everything that is to be reported, and tells talk how far it is.
func measure(ctx context.Context, o options, talk io.Writer) (*report, error) {
	b := &bench{options: o, texts: map[int][]exchange{}, figures: map[cell]map[string]*figures{}, uses: map[string]*use{}}
	if err := b.prepare(); err != nil {
		return nil, err
	}
	l, err := newLab(ctx, o)
	if err != nil {
		return nil, err
	}
	defer l.close()
	b.lab = l
	began := time.Now()
	fmt.Fprintln(talk, "bench: warming up")
	if err := b.warmUp(ctx); err != nil {
		return nil, err
	}
	for round := range o.rounds {
		fmt.Fprintf(talk, "bench: round %d of %d\n", round+1, o.rounds)
		if err := b.round(ctx, round); err != nil {
			return nil, err
		}
	}
	if b.audited, err = l.audited(); err != nil {
		return nil, fmt.Errorf("audit file: %w", err)
	}
	for _, p := range l.paths {
		if p.proxy != nil {
			b.uses[p.name].peak = peakMemory(p.proxy.pid())
		}
	}
	l.stop()
	for _, p := range l.paths {
		if p.proxy != nil {
			b.uses[p.name].lifetime = p.proxy.lifetime()
		}
	}
	return newReport(b, time.Since(began)), nil
}

func (b *bench) prepare() error {
	for _, size := range b.options.sizes {
		all, err := exchanges(size)
		if err != nil {
			return err
		}
		b.texts[size] = all
		for _, workers := range b.options.concurrency {
			b.cells = append(b.cells, cell{size, workers})
			b.figures[cell{size, workers}] = map[string]*figures{directPath: {}, floorPath: {}, sidecarPath: {}}
		}
	}
	for _, name := range []string{directPath, floorPath, sidecarPath} {
		b.uses[name] = &use{}
	}
	return nil
}

// maxWarmUp is enough calls for any heap to have found its size.
const maxWarmUp = 500

// warmUp makes each path open its connections, fill its caches and grow its
// heap before anything is counted.
func (b *bench) warmUp(ctx context.Context) error {
	for _, c := range b.cells {
		for _, p := range b.lab.paths {
			if _, err := b.drive(ctx, p, c, max(2*c.workers, min(b.options.calls/4, maxWarmUp))); err != nil {
				return err
			}
		}
	}
	return nil
}

// round measures each cell once on each path, in an order that rotates: whoever
// came first each time would have the machine in another state.
func (b *bench) round(ctx context.Context, round int) error {
	for i, c := range b.cells {
		for _, p := range rotated(b.lab.paths, round+i) {
			if err := b.sample(ctx, p, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) sample(ctx context.Context, p *path, c cell) error {
	before, unread := p.cpu()
	t, err := b.drive(ctx, p, c, b.options.calls)
	if err != nil {
		return err
	}
	after, _ := p.cpu()
	f := b.figures[c][p.name]
	if unread == nil {
		f.cpu = append(f.cpu, micros(after-before)/float64(b.options.calls))
	}
	f.p50 = append(f.p50, micros(percentile(t.latencies, 0.50)))
	f.p99 = append(f.p99, micros(percentile(t.latencies, 0.99)))
	f.perSecond = append(f.perSecond, float64(len(t.latencies))/t.elapsed.Seconds())
	return nil
}

// cpu is what the path's proxy has used so far. The direct path has none and
// uses none.
func (p *path) cpu() (time.Duration, error) {
	if p.proxy == nil {
		return 0, nil
	}
	return cpuTime(p.proxy.pid())
}

// drive runs calls over p and books what they asked of the upstream. Its error
// ends the run; calls that failed do not, so that the report can count them.
func (b *bench) drive(ctx context.Context, p *path, c cell, calls int) (taken, error) {
	before, err := b.lab.counted(ctx)
	if err != nil {
		return taken{}, err
	}
	t := p.load.run(ctx, b.texts[c.size], c.workers, calls)
	if ctx.Err() != nil {
		return t, context.Cause(ctx)
	}
	after, err := b.lab.counted(ctx)
	if err != nil {
		return t, err
	}
	u := b.uses[p.name]
	u.calls += calls
	u.upstream = u.upstream.plus(after.minus(before))
	if u.failed += t.failed; u.err == nil {
		u.err = t.err
	}
	if t.failed == calls {
		return t, fmt.Errorf("every call over the path %q failed: %w", p.name, t.err)
	}
	return t, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
