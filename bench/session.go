package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// visitor opens and ends sessions of the revision that has them.
type visitor struct {
	url    string
	header http.Header
	client *http.Client
}

func newVisitor(url, token string) *visitor {
	l := newLoad(url, token, withSession)
	l.client.Timeout = 0 // a stream stays open
	return &visitor{url: url, header: l.header, client: l.client}
}

func (v *visitor) close() { v.client.CloseIdleConnections() }

// send makes one HTTP request in a session, which may be none yet.
func (v *visitor) send(ctx context.Context, method, session string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, v.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = v.header.Clone()
	if session == "" {
		req.Header.Del("Mcp-Protocol-Version") // not agreed on yet
	} else {
		req.Header.Set("Mcp-Session-Id", session)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s in a session: HTTP %d: %s", method, resp.StatusCode, text)
	}
	return resp, nil
}

// exchange sends a message and reads the whole answer; the header comes with it.
func (v *visitor) exchange(ctx context.Context, method, session string, body []byte) (http.Header, []byte, error) {
	resp, err := v.send(ctx, method, session, body)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.Header, text, err
}

// open starts a session as clients do, and returns its id.
func (v *visitor) open(ctx context.Context) (string, error) {
	hello := request(withSession, `"hello"`, "initialize", `"protocolVersion":"`+withSession+`","capabilities":{},"clientInfo":{"name":"bench","version":"1"}`)
	head, _, err := v.exchange(ctx, http.MethodPost, "", hello)
	if err != nil {
		return "", err
	}
	id := head.Get("Mcp-Session-Id")
	if id == "" {
		return "", errors.New("no session was opened")
	}
	_, _, err = v.exchange(ctx, http.MethodPost, id, []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	return id, err
}

// list asks for the tools, as clients do once.
func (v *visitor) list(ctx context.Context, id string) error {
	_, text, err := v.exchange(ctx, http.MethodPost, id, request(withSession, "1", "tools/list", ""))
	if err == nil && !bytes.Contains(text, []byte(`"name":"echo"`)) {
		err = fmt.Errorf("tools/list: %.300q", text)
	}
	return err
}

// end ends a session.
func (v *visitor) end(ctx context.Context, id string) error {
	_, _, err := v.exchange(ctx, http.MethodDelete, id, nil)
	return err
}

// openAll opens n sessions that have listed the tools.
func (v *visitor) openAll(ctx context.Context, n int) ([]string, error) {
	ids := make([]string, n)
	return ids, together(n, func(i int) (err error) {
		if ids[i], err = v.open(ctx); err != nil {
			return err
		}
		return v.list(ctx, ids[i])
	})
}

func (v *visitor) endAll(ctx context.Context, ids []string) error {
	return together(len(ids), func(i int) error { return v.end(ctx, ids[i]) })
}

// listenAll opens each session's own stream; stop closes them.
func (v *visitor) listenAll(ctx context.Context, ids []string) (stop func(), err error) {
	streams := make([]io.Closer, len(ids))
	stop = func() {
		for _, s := range streams {
			if s != nil {
				_ = s.Close()
			}
		}
	}
	return stop, together(len(ids), func(i int) error {
		resp, err := v.send(ctx, http.MethodGet, ids[i], nil) //nolint:bodyclose // stop closes it
		if err == nil {
			streams[i] = resp.Body
		}
		return err
	})
}

// together runs f for 0 to n-1, a few at a time, and returns the first error.
func together(n int, f func(i int) error) error {
	const atOnce = 8
	var next atomic.Int64
	errs := make([]error, atOnce)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[w] == nil; i = int(next.Add(1)) - 1 {
				errs[w] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
