package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// memoryFigures are bytes. What the system does not tell stays 0.
type memoryFigures struct {
	Base       int64     `json:"base"`        // resident, after one session
	Session    float64   `json:"session"`     // per idle session, with few tools
	ManyTools  float64   `json:"many_tools"`  // the same with many
	SecondWave float64   `json:"second_wave"` // more than in the first wave, per session, once that one has ended
	Stream     float64   `json:"stream"`      // per session with its stream open
	Floods     []flooded `json:"floods"`
}

// flooded is what an answer cost that is much too large.
type flooded struct {
	Shape  string `json:"shape"`
	Growth int64  `json:"growth"` // of resident memory at its peak, in bytes
	Answer string `json:"answer"` // what the client got
}

// Sizes of lists and answers.
const (
	fewTools   = 10
	manyTools  = 200
	floodBytes = 64 << 20
)

// measureMemory starts sidecars that have done nothing else.
func (b *bench) measureMemory(ctx context.Context) error {
	if memoryOf(b.lab.sidecar.pid()) == (memory{}) {
		return nil // the system does not tell
	}
	var few, many memoryFigures
	for tools, m := range map[int]*memoryFigures{fewTools: &few, manyTools: &many} {
		p, err := b.newProbe(ctx, tools, eager)
		if err != nil {
			return err
		}
		if err = p.sessions(ctx, m); err == nil {
			err = p.listening(ctx, m)
		}
		if p.close(); err != nil {
			return err
		}
	}
	b.memory = few
	b.memory.ManyTools = many.Session
	var err error
	if b.memory.Base, err = b.atRest(ctx); err != nil {
		return err
	}
	for _, shape := range floodShapes {
		f, err := b.flood(ctx, shape)
		if err != nil {
			return err
		}
		b.memory.Floods = append(b.memory.Floods, f)
	}
	return nil
}

// probe is a sidecar whose memory is looked at.
type probe struct {
	*visitor
	sidecar, upstream *process
	held, streams     int
}

// eager lets a sidecar collect its garbage at once, so that its memory is what it
// holds: at its own setting it keeps as much again in hand.
const eager = "GOGC=10"

// newProbe starts a sidecar; environment may be empty.
func (b *bench) newProbe(ctx context.Context, tools int, environment ...string) (*probe, error) {
	upstream, err := b.lab.role(ctx, "upstream", "--tools", strconv.Itoa(tools))
	if err != nil {
		return nil, err
	}
	sidecar, err := b.lab.startSidecar(ctx, "probe-"+strconv.Itoa(len(b.lab.processes)), upstream, environment...)
	if err != nil {
		return nil, err
	}
	return &probe{
		visitor: newVisitor(sidecar.url, b.lab.token), sidecar: sidecar, upstream: upstream,
		held: b.options.sessions, streams: max(1, b.options.sessions/10),
	}, nil
}

func (p *probe) close() {
	p.visitor.close()
	p.sidecar.stop()
	p.upstream.stop()
}

// atRest is the resident memory of a sidecar that has served one session.
func (b *bench) atRest(ctx context.Context) (int64, error) {
	p, err := b.newProbe(ctx, fewTools)
	if err != nil {
		return 0, err
	}
	defer p.close()
	err = p.visit(ctx, 1, nil)
	return memoryOf(p.sidecar.pid()).resident, err
}

func (p *probe) anonymous() float64 { return float64(memoryOf(p.sidecar.pid()).anonymous) }

// sessions fills in what sessions cost. The heap takes its working size while the
// first ones come and go; what is held then comes on top.
func (p *probe) sessions(ctx context.Context, m *memoryFigures) error {
	if err := p.visit(ctx, (p.held+3)/4, nil); err != nil {
		return err
	}
	idle := p.anonymous()
	var waves [2]float64
	for i := range waves {
		if err := p.visit(ctx, p.held, func([]string) error { waves[i] = p.anonymous(); return nil }); err != nil {
			return err
		}
	}
	m.Session = max(0, min(waves[0], waves[1])-idle) / float64(p.held)
	m.SecondWave = max(0, waves[1]-waves[0]) / float64(p.held)
	return nil
}

// listening fills in what a session with an open stream costs.
func (p *probe) listening(ctx context.Context, m *memoryFigures) error {
	before := p.anonymous()
	return p.visit(ctx, p.streams, func(ids []string) error {
		stop, err := p.listenAll(ctx, ids)
		m.Stream = max(0, p.anonymous()-before) / float64(p.streams)
		stop()
		return err
	})
}

// visit opens n sessions, calls while unless it is nil, and ends them.
func (p *probe) visit(ctx context.Context, n int, while func(ids []string) error) error {
	ids, err := p.openAll(ctx, n)
	if err == nil && while != nil {
		err = while(ids)
	}
	if err != nil {
		return err
	}
	return p.endAll(ctx, ids)
}

// flood calls for an answer that is much larger than the limit, through a sidecar
// that has done nothing else.
func (b *bench) flood(ctx context.Context, shape string) (flooded, error) {
	f := flooded{Shape: shape}
	p, err := b.newProbe(ctx, fewTools)
	if err != nil {
		return f, err
	}
	defer p.close()
	if err := p.visit(ctx, 1, nil); err != nil {
		return f, err
	}
	id, err := p.open(ctx)
	if err != nil {
		return f, err
	}
	before := memoryOf(p.sidecar.pid())
	body := request(withSession, "1", "tools/call", fmt.Sprintf(`"name":"flood","arguments":{"size":%d,"shape":%q}`, floodBytes, shape))
	if f.Answer, err = p.refused(ctx, id, body); err != nil {
		return f, err
	}
	f.Growth = memoryOf(p.sidecar.pid()).peak - before.resident
	return f, nil
}

// refused makes a call that must fail and says how it did.
func (p *probe) refused(ctx context.Context, session string, body []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header = p.header.Clone()
	req.Header.Set("Mcp-Session-Id", session)
	resp, err := p.client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && !bytes.Contains(text, []byte(`"error":{"code":50200`)) {
		err = fmt.Errorf("an answer of %d bytes is not refused: HTTP %d, %.300q", floodBytes, resp.StatusCode, text)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("HTTP %d, code 50200", resp.StatusCode), nil
}
