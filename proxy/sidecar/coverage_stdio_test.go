package sidecar

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"mcp-sidecar/proxy/config"
)

// childFlag starts the test program as a child that is a server over stdio: it
// joins its pipes with a connection to the test that has started it. A line from there
// that begins with ! goes to its stderr.
const childFlag = "coverage-child="

// relayChild is such a child.
func relayChild(address string) int {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer conn.Close()
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	for lines := bufio.NewReader(conn); ; {
		line, err := lines.ReadBytes('\n')
		out := os.Stdout
		if said, ok := bytes.CutPrefix(line, []byte("!")); ok {
			out, line = os.Stderr, said
		}
		_, _ = out.Write(line)
		if err != nil {
			return 0
		}
	}
}

// scripted is a server over stdio that answers requests of one method with
// messages, and any other request as if all were well.
type scripted struct {
	address string

	mu       sync.Mutex
	method   string
	messages []string
	conns    []net.Conn // one for each child
}

func newScripted(t *testing.T) *scripted {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{address: l.Addr().String()}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn = overheard(t, conn)
			served.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); served.Wait() })
	return s
}

func (s *scripted) answerWith(method string, messages ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.method, s.messages = method, messages
}

// end ends the children that run.
func (s *scripted) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.conns = nil
}

func (s *scripted) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.mu.Unlock()
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		var m struct {
			ID     json.RawMessage
			Method string
			Params struct {
				Meta struct{ ProgressToken json.RawMessage } `json:"_meta"`
			}
		}
		if json.Unmarshal([]byte(line), &m) != nil || m.ID == nil || m.Method == "" {
			continue
		}
		for _, answer := range s.answers(m.Method) {
			answer = strings.ReplaceAll(answer, "$ID", string(m.ID))
			if token := m.Params.Meta.ProgressToken; token != nil {
				answer = strings.ReplaceAll(answer, `"progressToken":7`, `"progressToken":`+string(token))
			}
			_, _ = io.WriteString(conn, answer+"\n")
		}
	}
}

func (s *scripted) answers(method string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch method {
	case s.method:
		return s.messages
	case "initialize":
		return []string{response("$ID", `{"protocolVersion":"2025-11-25","capabilities":{}}`)}
	case "tools/list":
		return []string{response("$ID", `{"tools":`+inOneLine(demoInventory)+`}`)}
	}
	return []string{response("$ID", `{"content":[]}`)}
}

func inOneLine(s string) string { return strings.ReplaceAll(s, "\n", "") }

// newStdioCoverage has stdio on both sides: a client on a pipe, and a server that
// is a child.
func newStdioCoverage(t *testing.T, preset, rev string) *coverage {
	v := unopened(t, preset)
	if rev == legacy {
		v.say(v.ask(rev, "initialize", offeredParams, ""))
		_, _ = io.WriteString(v.pipe.in, pipeIsOpen+"\n")
	}
	v.giveTask(rev)
	return v
}

func unopened(t *testing.T, preset string) *coverage {
	token := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(token, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("no token yet")
	v := &coverage{preset: preset, pipe: &pipe{tokenFile: token}, child: newScripted(t)}
	s := coverageSetup(preset)
	s.pipe = v.pipe
	s.change = func(c *config.Config) {
		c.Upstreams["docs"] = config.Upstream{Command: []string{os.Args[0], childFlag + v.child.address}}
	}
	v.rig = start(t, s)
	write(v.token("alice"))
	return v
}

// say sends a request and returns every line up to its answer.
func (v *coverage) say(a ask) string {
	v.t.Helper()
	if _, err := io.WriteString(v.pipe.in, a.body+"\n"); err != nil {
		v.t.Fatal(err)
	}
	var got strings.Builder
	answer := regexp.MustCompile(`^\{"jsonrpc":"2.0","id":` + fmt.Sprint(v.ids) + `,"(result|error)"`)
	for {
		line, err := v.pipe.read.ReadString('\n')
		if err != nil {
			v.t.Fatalf("waiting for the answer to %s: %v\n%s", a.body, err, v.stderr)
		}
		got.WriteString(line)
		if answer.MatchString(line) {
			return got.String()
		}
	}
}

// overStdio has the messages come from a child to a client on a pipe.
func (v *coverage) overStdio(rev string, f fixture, messages []string) string {
	method, params, name := f.asked()
	switch f.method {
	case "initialize": // opens a pipe, so that each needs one of its own
		fresh := unopened(v.t.(*testing.T), v.preset)
		fresh.ids = v.ids
		fresh.child.answerWith(method, messages...)
		got := fresh.say(fresh.ask(rev, method, params, name))
		v.ids, v.borrowed = fresh.ids, append(v.borrowed, fresh.records()...)
		return got
	case "notifications/subscriptions/acknowledged":
		method, params = "subscriptions/listen", `"notifications":{}`
	}
	if !f.isAnswer() {
		messages = append(messages, response("$ID", `{"content":[]}`))
	}
	v.child.answerWith(method, messages...)
	return v.say(v.ask(rev, method, params, name))
}
