package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
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
	talk    io.Writer
	cells   []cell
	texts   map[string]map[int][]exchange // by revision and size
	figures map[cell]map[string]*figures
	added   map[string][]float64 // by path: p50 above the floor's, calls taking turns, one value a round
	hostile [][]float64          // by kind: processor time against prose, one value a round
	uses    map[string]*use
	audited int
	session counted // what the opening and the end of one session asked of the upstream
	memory  memoryFigures
	rules   ruleFigures
}

// measure does everything that is to be reported, and tells talk how far it is.
func measure(ctx context.Context, o options, talk io.Writer) (*report, error) {
	b := &bench{options: o, talk: talk, texts: map[string]map[int][]exchange{}, figures: map[cell]map[string]*figures{}, added: map[string][]float64{}, uses: map[string]*use{}}
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
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	return newReport(b, time.Since(began)), nil
}

// run measures one thing after the other. What wants a sidecar of its own comes
// last: the peak of the first one is its peak under load.
func (b *bench) run(ctx context.Context) error {
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"one session", b.oneSession},
		{"rules", b.measureRules},
		{"warming up", b.warmUp},
		{"rounds", b.rounds},
		{"endurance", b.endure},
		{"counting", b.count},
	} {
		b.say(part.name)
		if err := part.do(ctx); err != nil {
			return err
		}
	}
	if newReport(b, 0).judge() == nil { // else there is nothing to be proud of
		b.say("memory")
		if err := b.measureMemory(ctx); err != nil {
			return err
		}
	}
	b.lab.stop()
	for _, p := range b.lab.paths {
		if p.proxy != nil {
			b.uses[p.name].lifetime = p.proxy.lifetime()
		}
	}
	return nil
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.talk, "bench: "+format+"\n", args...) }

func (b *bench) prepare() error {
	b.texts[stateless], b.texts[withSession] = map[int][]exchange{}, map[int][]exchange{}
	for _, size := range b.options.sizes {
		for version := range b.texts {
			all, err := exchanges(version, size)
			if err != nil {
				return err
			}
			b.texts[version][size] = all
		}
		for _, workers := range b.options.concurrency {
			if size*workers > maxInFlight {
				continue
			}
			c := cell{size, workers}
			b.cells = append(b.cells, c)
			b.figures[c] = map[string]*figures{directPath: {}, floorPath: {}, sidecarPath: {}, sessionPath: {}}
		}
	}
	for _, name := range []string{directPath, floorPath, sidecarPath, sessionPath} {
		b.uses[name] = &use{}
	}
	b.hostile = make([][]float64, len(attacks))
	return nil
}

// maxInFlight bounds the text of all calls at a time, in bytes: eight of a megabyte.
const maxInFlight = 8 << 20

// oneSession opens a session, in which the calls of its path are made, and counts
// what another one asks of the upstream from its opening to its end.
func (b *bench) oneSession(ctx context.Context) error {
	v := newVisitor(b.lab.sidecar.url, b.lab.token)
	defer v.close()
	id, err := v.open(ctx)
	if err != nil {
		return err
	}
	for _, p := range b.lab.paths {
		if p.name == sessionPath {
			p.load.header.Set("Mcp-Session-Id", id)
		}
	}
	before, err := b.lab.counted(ctx)
	if err != nil {
		return err
	}
	if id, err = v.open(ctx); err == nil {
		err = v.end(ctx, id)
	}
	if err != nil {
		return err
	}
	after, err := b.lab.counted(ctx)
	b.session = after.minus(before)
	return err
}

// maxWarmUp is enough calls for any heap to have found its size.
const maxWarmUp = 500

// warmUp makes each path open its connections, fill its caches and grow its
// heap before anything is counted.
func (b *bench) warmUp(ctx context.Context) error {
	for _, c := range b.cells {
		for _, p := range b.lab.paths {
			if _, err := b.drive(ctx, p, c.workers, max(2*c.workers, min(b.calls(c)/4, maxWarmUp)), b.texts[p.load.version][c.size]); err != nil {
				return err
			}
		}
	}
	return nil
}

// calls is how many calls of a cell are made on each path in a round.
func (b *bench) calls(c cell) int {
	if c.size <= smallText && c.workers > 1 {
		return b.options.calls * tailCalls
	}
	return max(1, b.options.calls*min(c.size, largeText)/c.size)
}

// tailCalls is how many times more calls are made where a goal speaks of the
// slowest 1 %: of 1,200 calls that is 12, and one hiccup of a busy machine makes
// half of them.
const tailCalls = 5

// largeText is the size above which fewer calls are made: they take longer.
const largeText = 50 << 10

// rounds measures each cell once a round.
func (b *bench) rounds(ctx context.Context) error {
	for round := range b.options.rounds {
		b.say("round %d of %d", round+1, b.options.rounds)
		for i, c := range b.cells {
			if err := b.sample(ctx, c, round+i); err != nil {
				return err
			}
		}
		if err := errors.Join(b.takeTurns(ctx), b.hostileRound(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// maxTurns is how often the paths take turns in one cell and round.
const maxTurns = 12

// sample measures a cell. The paths take turns, in an order that rotates: whoever
// came first each time would have the machine in another state, and the machine is
// in another state every second.
func (b *bench) sample(ctx context.Context, c cell, by int) error {
	calls := b.calls(c)
	turns := min(maxTurns, max(1, calls/(8*c.workers))) // shorter ones would be all beginning and end
	parts := map[string][]taken{}
	cpu := map[string]float64{}
	for turn := range turns {
		for _, p := range rotated(b.lab.paths, by+turn) {
			if p.name == directPath && c.workers > 1 {
				continue // what the way itself takes is known from one call at a time
			}
			n := calls*(turn+1)/turns - calls*turn/turns
			t, each, err := b.timed(ctx, p, c.workers, n, b.texts[p.load.version][c.size])
			if err != nil {
				return err
			}
			parts[p.name] = append(parts[p.name], t)
			cpu[p.name] += each * float64(n)
		}
	}
	for name, all := range parts {
		b.figures[c][name].enter(join(all), cpu[name]/float64(calls))
	}
	return nil
}

// enter adds what one round has taken; cpu is below 0 where it is not known.
func (f *figures) enter(t taken, cpu float64) {
	if cpu >= 0 {
		f.cpu = append(f.cpu, cpu)
	}
	f.p50 = append(f.p50, micros(percentile(t.latencies, 0.50)))
	f.p99 = append(f.p99, micros(percentile(t.latencies, 0.99)))
	f.perSecond = append(f.perSecond, float64(len(t.latencies))/t.elapsed.Seconds())
}

// timed is drive with the processor time per call in microseconds, -1 where the
// system does not tell.
func (b *bench) timed(ctx context.Context, p *path, workers, calls int, all []exchange) (taken, float64, error) {
	before, unread := p.cpu()
	t, err := b.drive(ctx, p, workers, calls, all)
	after, _ := p.cpu()
	if unread != nil {
		return t, -1, err
	}
	return t, micros(after-before) / float64(calls), err
}

// takeTurns makes single calls over the floor and the sidecar in turn: what one
// call takes longer is less than what a busy machine changes from one second to the
// next.
func (b *bench) takeTurns(ctx context.Context) error {
	size, calls := b.options.sizes[0], b.options.calls
	if size != smallText {
		return nil // the goal speaks of no other
	}
	before, err := b.lab.counted(ctx)
	if err != nil {
		return err
	}
	paths := b.lab.paths[1:]
	took := make([]taken, len(paths))
	for n := range calls {
		for i := range paths {
			i = (i + n) % len(paths)
			p := paths[i]
			took[i].add(p.load.call(ctx, b.texts[p.load.version][size][n%variants]))
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	after, err := b.lab.counted(ctx)
	if err != nil {
		return err
	}
	rest := after.minus(before)
	for i, p := range paths {
		u := b.uses[p.name]
		u.calls += calls
		if u.failed += took[i].failed; u.err == nil {
			u.err = took[i].err
		}
		u.upstream.Calls += int64(calls)
		rest.Calls -= int64(calls)
		slices.Sort(took[i].latencies)
		b.added[p.name] = append(b.added[p.name], micros(percentile(took[i].latencies, 0.50)-percentile(took[0].latencies, 0.50)))
	}
	// What does not add up is the sidecar's: the floor does not think.
	b.uses[sidecarPath].upstream = b.uses[sidecarPath].upstream.plus(rest)
	return nil
}

// hostileRound measures texts that want to cost much, next to prose of their size.
func (b *bench) hostileRound(ctx context.Context) error {
	p, calls := b.lab.paths[2], max(1, b.options.calls/4) // the stateless way through the sidecar
	const workers = 8
	var cpu []float64
	for kind := -1; kind < len(attacks); kind++ {
		all, err := exchanges(stateless, hostileSize)
		if kind >= 0 {
			all, err = hostileExchanges(kind, hostileSize)
		}
		if err != nil {
			return err
		}
		_, each, err := b.timed(ctx, p, workers, calls, all)
		if err != nil {
			return err
		}
		cpu = append(cpu, each)
	}
	for kind := range attacks {
		if cpu[0] > 0 {
			b.hostile[kind] = append(b.hostile[kind], cpu[kind+1]/cpu[0])
		}
	}
	return nil
}

// hostileSize is the size of hostile texts.
const hostileSize = 10 << 10

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
func (b *bench) drive(ctx context.Context, p *path, workers, calls int, all []exchange) (taken, error) {
	before, err := b.lab.counted(ctx)
	if err != nil {
		return taken{}, err
	}
	t := p.load.run(ctx, all, workers, calls)
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

// endure goes on until so many calls have passed the sidecar as are to be counted,
// with every processor busy: on a busy machine a proxy that streams request bodies
// aborts calls at random (golang/go#40747).
func (b *bench) endure(ctx context.Context) error {
	busy, idle := context.WithCancel(ctx)
	defer idle()
	for range runtime.NumCPU() {
		go burn(busy)
	}
	left := max(b.options.endurance/20, b.options.endurance-b.uses[sidecarPath].calls-b.uses[sessionPath].calls)
	for _, p := range b.lab.paths[len(b.lab.paths)-2:] { // those through the sidecar
		for n := (left + 1) / 2; n > 0; n -= portion {
			c := b.cells[0]
			if _, err := b.drive(ctx, p, maxWorkers/4, min(n, portion), b.texts[p.load.version][c.size]); err != nil {
				return err
			}
		}
	}
	return nil
}

// portion is how many calls are made before what they asked for is counted.
const portion = 5000

// burn uses a processor until ctx ends.
func burn(ctx context.Context) {
	for n := uint64(1); ; n = n*6364136223846793005 + 1442695040888963407 {
		if n>>44 == 0 && ctx.Err() != nil {
			return
		}
	}
}

// count reads what the load has left.
func (b *bench) count(context.Context) (err error) {
	if b.audited, err = b.lab.audited(); err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	for _, p := range b.lab.paths {
		if p.proxy != nil {
			b.uses[p.name].peak = memoryOf(p.proxy.pid()).peak
		}
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
