package backend

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"mcp-sidecar/proxy/wire"
)

// childMode makes the test binary a child; its value says of which kind.
const childMode = "BACKEND_TEST_CHILD"

func childMain(mode string) int {
	switch mode {
	case "sleeper":
		return sleep()
	case "stubborn":
		return stubborn()
	case "wrapper":
		return wrapper()
	case "banner":
		fmt.Println("Server listening on stdio")
	case "dies":
		return 9
	case "mute":
		_ = os.Stdout.Close()
		return sleep()
	case "sdk":
		return sdkServer()
	case "scripted":
		return scripted()
	case "sidecar":
		return sidecarThatDies()
	}
	(&puppet{out: bufio.NewWriter(os.Stdout)}).serve()
	return 0
}

// sleep waits until somebody ends it, or until no test can be waiting for that any
// more: it must not stay behind when the check is missing that would end it.
func sleep() int {
	time.Sleep(3 * time.Minute)
	return 1
}

// stubborn ends for SIGKILL only.
func stubborn() int {
	signal.Ignore(syscall.SIGTERM)
	fmt.Println(`{"jsonrpc":"2.0","method":"notifications/ready"}`)
	return sleep()
}

// wrapper is what npx is: it starts the server, hands it the pipes and waits.
func wrapper() int {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{childMode + "=server", quickExit}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}

// sidecarThatDies starts a child that reads nothing, says which, and dies
// without a chance to end it.
func sidecarThatDies() int {
	s, err := NewStdio(StdioOptions{Command: []string{os.Args[0]}, Env: []string{childMode + "=sleeper"}, Shared: true})
	if err != nil || s.Ready(context.Background()) != nil {
		return 1
	}
	fmt.Println(s.shared.proc.cmd.Process.Pid)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	return 1
}

// scripted answers each initialize as its params.answer says: with a result, with an
// error, with something broken, or, once notifications/answer has come, with one
// of the first two.
func scripted() int {
	in := bufio.NewScanner(os.Stdin)
	const refusal = `,"error":{"code":-32602,"message":"unsupported"}}`
	var late []string
	for in.Scan() {
		var c struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct {
				Answer string `json:"answer"`
			} `json:"params"`
		}
		_ = json.Unmarshal(in.Bytes(), &c)
		id := string(c.ID)
		switch {
		case c.Method == "notifications/answer":
			for _, answer := range late {
				fmt.Println(answer)
			}
		case c.Params.Answer == "error":
			fmt.Println(`{"jsonrpc":"2.0","id":` + id + refusal)
		case c.Params.Answer == "result":
			fmt.Println(`{"jsonrpc":"2.0","id":` + id + `,"result":{}}`)
		case c.Params.Answer == "broken":
			fmt.Println(`{"jsonrpc":"2.0","id":` + id + `}`)
		case c.Params.Answer == "late":
			late = append(late, `{"jsonrpc":"2.0","id":`+id+`,"result":{"late":true}}`)
			fmt.Println("noticed")
		case c.Params.Answer == "late error":
			late = append(late, `{"jsonrpc":"2.0","id":`+id+refusal)
			fmt.Println("noticed")
		}
	}
	return 0
}

// puppet is a server that does what the requests say.
//
//	initialize  a result, once; an error after that
//	say         prints params.lines, $ID and $TOKEN filled in, and nothing else;
//	            ends if params.then is "die"
//	await       a result as soon as a line with params.text has come
//	seen        a result with every line that has come
//	env         a result with its environment, folder and process ids
//	spawn       starts a process that holds the output open and ends for SIGKILL only
//	huge        a result of params.size bytes, its id at the end if params.last
//	stderr      prints params.lines to the standard error, then a result
//	deaf        a result, and then reads no more
//	die         ends with params.code
//	hold        nothing; nor does subscriptions/listen
//
// The notification notifications/say prints params.lines too.
type puppet struct {
	out     *bufio.Writer
	seen    []string
	waiting []call
	hello   bool
}

type call struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Lines []string `json:"lines"`
		Text  string   `json:"text"`
		Size  int      `json:"size"`
		Last  bool     `json:"last"`
		Code  int      `json:"code"`
		Then  string   `json:"then"`
		Meta  struct {
			Token json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	} `json:"params"`
}

func (p *puppet) serve() {
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		p.seen = append(p.seen, strings.TrimSuffix(line, "\n"))
		var c call
		switch err := json.Unmarshal([]byte(line), &c); {
		case err != nil:
		case c.Method == "notifications/say":
			for _, line := range c.Params.Lines {
				p.say(line)
			}
		case c.Method != "" && c.ID != nil:
			p.obey(c)
		}
		p.awake()
		_ = p.out.Flush()
	}
}

func (p *puppet) obey(c call) {
	switch c.Method {
	case "initialize":
		if p.hello {
			p.say(`{"jsonrpc":"2.0","id":` + string(c.ID) + `,"error":{"code":-32600,"message":"initialize came twice"}}`)
			return
		}
		p.hello = true
		p.result(c, fmt.Sprintf(`{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"puppet","version":"%d"}}`, os.Getpid()))
	case "say":
		for _, line := range c.Params.Lines {
			p.say(strings.NewReplacer("$ID", string(c.ID), "$TOKEN", string(c.Params.Meta.Token)).Replace(line))
		}
		if c.Params.Then == "die" {
			_ = p.out.Flush()
			os.Exit(0)
		}
	case "await":
		p.waiting = append(p.waiting, c)
	case "seen":
		p.result(c, quoted(p.seen))
	case "env":
		folder, _ := os.Getwd()
		p.result(c, quoted(append(os.Environ(), "folder="+folder, fmt.Sprintf("pid=%d", os.Getpid()))))
	case "spawn":
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{childMode + "=stubborn"}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		_ = cmd.Start()
		p.result(c, fmt.Sprint(cmd.Process.Pid))
	case "huge":
		filling := strings.Repeat("x", c.Params.Size)
		if c.Params.Last {
			p.say(`{"result":{"text":"` + filling + `"},"jsonrpc":"2.0","id":` + string(c.ID) + `}`)
			return
		}
		p.result(c, `{"text":"`+filling+`"}`)
	case "stderr":
		for _, line := range c.Params.Lines {
			_, _ = os.Stderr.WriteString(line)
		}
		p.result(c, `{}`)
	case "deaf":
		p.result(c, `{}`)
		_ = p.out.Flush()
		sleep()
	case "die":
		os.Exit(c.Params.Code)
	case "hold", "subscriptions/listen":
	default:
		p.say(`{"jsonrpc":"2.0","id":` + string(c.ID) + `,"error":{"code":-32601,"message":"no such method"}}`)
	}
}

// awake answers whoever awaits something that has come.
func (p *puppet) awake() {
	var still []call
	for _, c := range p.waiting {
		found := false
		for _, line := range p.seen {
			found = found || strings.Contains(line, c.Params.Text) && !strings.Contains(line, `"await"`)
		}
		if !found {
			still = append(still, c)
			continue
		}
		p.result(c, `{}`)
	}
	p.waiting = still
}

func (p *puppet) say(line string) { _, _ = p.out.WriteString(line + "\n") }

func (p *puppet) result(c call, result string) {
	p.say(`{"jsonrpc":"2.0","id":` + string(c.ID) + `,"result":` + result + `}`)
}

func quoted(list []string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(list)
	return strings.TrimSpace(b.String())
}

// quickExit has a child that was built with the race detector end at once.
const quickExit = "GORACE=atexit_sleep_ms=0"

// children starts an upstream whose children are of the given kind.
func children(t *testing.T, kind string, o StdioOptions) *Stdio {
	t.Helper()
	o.Command = []string{os.Args[0]}
	o.Env = append(o.Env, childMode+"="+kind, quickExit)
	s, err := NewStdio(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := s.Stats().Children; n != 0 {
			t.Errorf("%d children are left", n)
		}
	})
	return s
}

// Protocol revisions.
const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

// request is the body of a request; params is the inside of an object.
func request(id, method, params string) []byte {
	return []byte(`{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `","params":{` + params + `}}`)
}

func notification(method, params string) []byte {
	return []byte(`{"jsonrpc":"2.0","method":"` + method + `","params":{` + params + `}}`)
}

// stateless carries body for owner, as 2026-07-28 does.
func statelessly(owner string, body []byte) wire.Exchange {
	return wire.Exchange{Body: body, Version: modern, Method: "m", Owner: owner, Long: bytes.Contains(body, []byte("/listen"))}
}

// inSession carries body in a session, as the older revisions do.
func inSession(id string, body []byte) wire.Exchange {
	return wire.Exchange{Body: body, Version: legacy, Session: id}
}

// do carries x and returns what came.
func do(t *testing.T, s *Stdio, x wire.Exchange) *taker {
	t.Helper()
	sink := &taker{}
	if err := s.Do(t.Context(), x, sink); err != nil {
		t.Fatalf("%s: %v", x.Body, err)
	}
	return sink
}

// open starts a session.
func open(t *testing.T, s *Stdio, owner string) string {
	t.Helper()
	sink := do(t, s, wire.Exchange{Body: request("0", "initialize", `"protocolVersion":"2025-11-25"`), Version: legacy, Owner: owner})
	if sink.reply.Session == "" || sink.reply.Status != 200 || len(sink.events) != 1 {
		t.Fatalf("initialize: %+v, %q", sink.reply, sink.events)
	}
	return sink.reply.Session
}

// stream is an exchange under way, whose messages a test reads one by one.
type stream struct {
	t      *testing.T
	events chan string
	cancel context.CancelFunc
	err    chan error
}

func start(t *testing.T, s *Stdio, x wire.Exchange) *stream {
	ctx, cancel := context.WithCancel(t.Context())
	f := &stream{t: t, events: make(chan string, 1000), cancel: cancel, err: make(chan error, 1)}
	go func() {
		f.err <- s.Do(ctx, x, f)
		close(f.events)
	}()
	return f
}

func (f *stream) Reply(r wire.Reply) error {
	f.events <- fmt.Sprintf("reply %d %v", r.Status, r.Stream)
	return nil
}

func (f *stream) Message(ev wire.Event) error {
	f.events <- string(ev.Data)
	return nil
}

// want reads the next messages.
func (f *stream) want(messages ...string) {
	f.t.Helper()
	for _, want := range messages {
		select {
		case got, open := <-f.events:
			if got != want {
				f.t.Fatalf("got %q (%v), want %s", got, open, want)
			}
		case <-time.After(20 * time.Second):
			f.t.Fatalf("nothing came; want %s", want)
		}
	}
}

// end returns what the exchange ended with; nothing may have come that was not
// looked at.
func (f *stream) end() error {
	f.t.Helper()
	select {
	case err := <-f.err:
		for more := range f.events {
			f.t.Errorf("one more message: %s", more)
		}
		return err
	case <-time.After(20 * time.Second):
		f.t.Fatal("the exchange does not end")
		return nil
	}
}

// lines is params of say.
func lines(list ...string) string { return `"lines":` + quoted(list) }
