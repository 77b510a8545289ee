package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
)

// maxLine bounds one message of a server.
const maxLine = 64 << 20

// stdioLink is a program that speaks on its stdin and stdout.
type stdioLink struct {
	p     *process
	stdin io.WriteCloser
	mu    sync.Mutex
}

// stdio starts program and connects c to it.
func (b *bench) stdio(ctx context.Context, c *client, env []string, program string, args ...string) error {
	l := &stdioLink{}
	var stdout io.Reader
	p, err := b.launch(ctx, "stdio", func(cmd *exec.Cmd) (err error) {
		cmd.Env = env
		if l.stdin, err = cmd.StdinPipe(); err != nil {
			return err
		}
		stdout, err = cmd.StdoutPipe()
		return err
	}, program, args...)
	if err != nil {
		return err
	}
	l.p, c.link = p, l
	go func() {
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			if len(bytes.TrimSpace(lines.Bytes())) > 0 {
				c.receive(lines.Bytes())
			}
		}
		c.fail(p.failure(errors.Join(errors.New("the program closed its output"), lines.Err())))
	}()
	return nil
}

func (l *stdioLink) send(_ context.Context, message []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.stdin.Write(append(message, '\n'))
	return err
}

func (*stdioLink) listen(context.Context) error { return nil }

func (l *stdioLink) close() {
	_ = l.stdin.Close()
	l.p.stop()
}

// httpLink speaks streamable HTTP of the older revisions.
type httpLink struct {
	c       *client
	url     string
	http    *http.Client
	mu      sync.Mutex
	session string
	streams sync.WaitGroup
	cancel  context.CancelFunc
	ctx     context.Context // streams end with the link
}

// overHTTP connects c to url.
func overHTTP(ctx context.Context, c *client, url string) {
	l := &httpLink{c: c, url: url, http: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	l.ctx, l.cancel = context.WithCancel(ctx)
	c.link = l
}

func (l *httpLink) request(method string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(l.ctx, method, l.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	if method == http.MethodPost {
		r.Header.Set("Accept", "application/json, text/event-stream")
		r.Header.Set("Content-Type", "application/json")
	}
	if session := l.inSession(""); session != "" {
		r.Header.Set("Mcp-Session-Id", session)
		r.Header.Set("Mcp-Protocol-Version", legacyRevision)
	}
	return l.http.Do(r)
}

// inSession remembers fresh, unless it is empty, and returns the session.
func (l *httpLink) inSession(fresh string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if fresh != "" {
		l.session = fresh
	}
	return l.session
}

// send returns when the server has taken the message. The answer is read in the
// background: it may be a stream that waits for what the client says next.
func (l *httpLink) send(_ context.Context, message []byte) error {
	res, err := l.request(http.MethodPost, message)
	if err != nil {
		return err
	}
	l.inSession(res.Header.Get("Mcp-Session-Id"))
	l.streams.Go(func() { l.read(res) })
	return nil
}

// listen opens the stream on which the server speaks first, and returns once
// the server has accepted it.
func (l *httpLink) listen(context.Context) error {
	res, err := l.request(http.MethodGet, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return fmt.Errorf("GET: %s", res.Status)
	}
	l.streams.Go(func() { l.read(res) })
	return nil
}

// read hears the messages of one answer.
func (l *httpLink) read(res *http.Response) {
	defer res.Body.Close()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		if err := readEvents(res.Body, l.c.receive); err != nil && l.ctx.Err() == nil {
			l.c.fail(err)
		}
		return
	}
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		l.c.fail(err)
	case len(body) > 0:
		l.c.receive(body)
	case res.StatusCode >= http.StatusBadRequest:
		l.c.fail(fmt.Errorf("HTTP %s without a message", res.Status))
	}
}

// readEvents gives the data of each server-sent event that has some.
func readEvents(r io.Reader, hear func([]byte)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	var data []byte
	for lines.Scan() {
		line := lines.Bytes()
		switch value, isData := bytes.CutPrefix(line, []byte("data:")); {
		case isData:
			if len(data) > 0 {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
		case len(line) == 0 && len(data) > 0:
			hear(data)
			data = nil
		}
	}
	return lines.Err()
}

func (l *httpLink) close() {
	if res, err := l.request(http.MethodDelete, nil); err == nil {
		_ = res.Body.Close()
	}
	l.cancel()
	l.streams.Wait()
	l.http.CloseIdleConnections()
}
