package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// variants is how many different texts of one size are sent, so that no cache of
// the last message can answer.
const variants = 32

// callTime bounds one call; a thousandth of it is normal.
const callTime = 30 * time.Second

// exchange is one prepared call and what its answer must contain.
type exchange struct{ body, want []byte }

// exchanges prepares calls whose text, and whose answer's text, has size bytes.
func exchanges(version string, size int) ([]exchange, error) {
	all := make([]exchange, variants)
	for v := range all {
		x, err := newExchange(version, v+1, size, v, variants+v)
		if err != nil {
			return nil, err
		}
		x.want = fmt.Appendf(nil, `"id":%d,"result":{"resultType":"complete",%s}`, v+1, answerContent(size, variants+v))
		all[v] = x
	}
	return all, nil
}

// hostileExchanges prepares calls with the texts of one kind of attack. What the
// guards make of the answers is no concern here.
func hostileExchanges(kind, size int) ([]exchange, error) {
	all := make([]exchange, variants)
	for v := range all {
		n := hostileVariant + v*len(attacks) + kind
		x, err := newExchange(stateless, v+1, size, n, n)
		if err != nil {
			return nil, err
		}
		x.want = fmt.Appendf(nil, `"id":%d,"result":{"resultType":"complete","content":[`, v+1)
		all[v] = x
	}
	return all, nil
}

func newExchange(version string, id, size, asked, answered int) (exchange, error) {
	args, err := json.Marshal(arguments{
		Text: textOf(size, asked), Size: size, Variant: answered,
		Format: "plain", Link: "https://www.example.com/notes/" + strconv.Itoa(id),
	})
	if err != nil {
		return exchange{}, err
	}
	return exchange{body: request(version, strconv.Itoa(id), "tools/call", `"name":"echo","arguments":`+string(args))}, nil
}

// request is a message with an id; params without braces.
func request(version, id, method, params string) []byte {
	if version == stateless {
		if params != "" {
			params += ","
		}
		params += `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + stateless + `","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},` +
			`"io.modelcontextprotocol/clientCapabilities":{}}`
	}
	return []byte(`{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{` + params + `}}`)
}

// load is the clients of one path. Connections are kept from call to call and
// from round to round.
type load struct {
	url     string
	version string
	header  http.Header
	client  *http.Client
}

func newLoad(url, token, version string) *load {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json, text/event-stream")
	h.Set("Authorization", "Bearer "+token)
	h.Set("Mcp-Protocol-Version", version)
	if version == stateless {
		h.Set("Mcp-Method", "tools/call")
		h.Set("Mcp-Name", "echo")
	}
	return &load{url: url, version: version, header: h, client: &http.Client{
		Timeout: callTime,
		// No proxy from the environment; nothing compressed, since nobody wants
		// to measure gzip.
		Transport: &http.Transport{MaxIdleConnsPerHost: maxWorkers, DisableCompression: true},
	}}
}

func (l *load) close() { l.client.CloseIdleConnections() }

// taken is what one run of a load took.
type taken struct {
	latencies []time.Duration // of the calls that succeeded, sorted
	elapsed   time.Duration
	failed    int
	err       error // the first failure
}

// run makes calls, shared by workers that each have one call in flight at a time
// (closed loop).
func (l *load) run(ctx context.Context, all []exchange, workers, calls int) taken {
	var next atomic.Int64
	parts := make([]taken, workers)
	var wg sync.WaitGroup
	began := time.Now()
	for w := range parts {
		wg.Go(func() {
			for n := int(next.Add(1)); n <= calls && ctx.Err() == nil; n = int(next.Add(1)) {
				parts[w].add(l.call(ctx, all[n%len(all)]))
			}
		})
	}
	wg.Wait()
	t := join(parts)
	t.elapsed = time.Since(began)
	return t
}

func (t *taken) add(d time.Duration, err error) {
	if err == nil {
		t.latencies = append(t.latencies, d)
		return
	}
	if t.failed++; t.err == nil {
		t.err = err
	}
}

// join adds up what was taken by several workers, or one after the other.
func join(parts []taken) taken {
	var all taken
	for _, p := range parts {
		all.elapsed += p.elapsed
		all.latencies = append(all.latencies, p.latencies...)
		all.failed += p.failed
		if all.err == nil {
			all.err = p.err
		}
	}
	slices.Sort(all.latencies)
	return all
}

// call makes one call and returns how long it took until the last byte.
func (l *load) call(ctx context.Context, x exchange) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(x.body))
	if err != nil {
		return 0, err
	}
	req.Header = l.header
	began := time.Now()
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(resp.Body)
	took := time.Since(began)
	_ = resp.Body.Close()
	switch {
	case err != nil:
		return 0, fmt.Errorf("answer cut short: %w", err)
	case resp.StatusCode != http.StatusOK || !bytes.Contains(body, x.want):
		return 0, fmt.Errorf("HTTP %d, unexpected answer: %.300q", resp.StatusCode, body)
	}
	return took, nil
}
