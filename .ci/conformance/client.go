package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// link carries messages to a server and back as they are.
type link interface {
	// send returns once the message is on its way.
	send(ctx context.Context, message []byte) error
	// listen opens what a server needs to speak first.
	listen(ctx context.Context) error
	close()
}

// Kinds of what a server says.
const (
	answer       = "answer"
	question     = "question" // a request of the server's own
	notification = "notification"
)

// heard is a message of the server, byte for byte.
type heard struct {
	kind   string
	method string // of a question or notification
	step   string // of an answer: what was asked
	body   []byte
}

// client speaks to a server and writes down what it hears.
type client struct {
	link    link
	ctx     context.Context // one client lives as long as one run
	mu      sync.Mutex
	heard   []heard
	steps   map[string]string // by id
	changed chan struct{}     // closed and replaced when something was heard
	confirm map[string]bool   // tools that want confirm=true
	polls   map[string]int    // how often the server asked for a task of ours
	guarded bool              // calls that a guard refuses are not made
	broken  error
}

// patienceOfStep bounds one request on a busy machine.
const patienceOfStep = 60 * time.Second

func newClient(ctx context.Context) *client {
	return &client{ctx: ctx, steps: map[string]string{}, changed: make(chan struct{}), confirm: map[string]bool{}, polls: map[string]int{}}
}

// envelope is what the client needs to know of a message.
type envelope struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// receive is called by the link for each message, in its order.
func (c *client) receive(body []byte) {
	body = bytes.Clone(body)
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		c.fail(fmt.Errorf("the server sent no message but %.200q", body))
		return
	}
	h := heard{body: body, method: e.Method}
	switch {
	case e.Method == "":
		h.kind = answer
	case e.ID == nil:
		h.kind = notification
	default:
		h.kind = question
	}
	c.mu.Lock()
	h.step = c.steps[string(e.ID)]
	c.heard = append(c.heard, h)
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	if h.kind == question {
		// Not here: the link would wait for itself.
		go func() {
			if err := c.link.send(c.ctx, c.reply(e)); err != nil {
				c.fail(err)
			}
		}()
	}
}

func (c *client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil && c.ctx.Err() == nil {
		c.broken = err
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// until waits for a message that satisfies match, those of the past included.
func (c *client) until(what string, match func(heard) bool) (heard, error) {
	limit := time.After(patienceOfStep)
	for {
		c.mu.Lock()
		for _, h := range c.heard {
			if match(h) {
				c.mu.Unlock()
				return h, nil
			}
		}
		changed, broken := c.changed, c.broken
		c.mu.Unlock()
		if broken != nil {
			return heard{}, fmt.Errorf("%s: %w", what, broken)
		}
		select {
		case <-changed:
		case <-limit:
			return heard{}, fmt.Errorf("%s: no answer in %v", what, patienceOfStep)
		case <-c.ctx.Done():
			return heard{}, c.ctx.Err()
		}
	}
}

// question waits for the n-th request of the server with method.
func (c *client) question(method string, n int) error {
	_, err := c.until(fmt.Sprintf("request %d for %s", n, method), func(h heard) bool {
		return h.kind == question && h.method == method && c.count(method) >= n
	})
	return err
}

// count is called with c.mu held.
func (c *client) count(method string) int {
	n := 0
	for _, h := range c.heard {
		if h.method == method {
			n++
		}
	}
	return n
}

// notify sends a notification.
func (c *client) notify(method string) error {
	return c.link.send(c.ctx, []byte(`{"jsonrpc":"2.0","method":"`+method+`"}`))
}

// call sends a request and returns its answer. The step names it in a
// comparison, and its id is made from it.
func (c *client) call(step, method, params string) (envelope, error) {
	id, err := json.Marshal(step)
	if err != nil {
		return envelope{}, err
	}
	c.mu.Lock()
	c.steps[string(id)] = step
	c.mu.Unlock()
	message := `{"jsonrpc":"2.0","id":` + string(id) + `,"method":"` + method + `"`
	if params != "" {
		message += `,"params":` + params
	}
	if err := c.link.send(c.ctx, []byte(message+"}")); err != nil {
		return envelope{}, fmt.Errorf("%s: %w", step, err)
	}
	h, err := c.until(step, func(h heard) bool { return h.kind == answer && h.step == step })
	if err != nil {
		return envelope{}, err
	}
	var e envelope
	return e, json.Unmarshal(h.body, &e)
}

// tool calls a tool, with confirm=true where the list asks for it.
func (c *client) tool(step, name, arguments, more string) (envelope, error) {
	if c.confirm[name] {
		comma := ","
		if strings.TrimSpace(arguments) == "{}" {
			comma = ""
		}
		arguments = strings.TrimSuffix(arguments, "}") + comma + `"confirm":true}`
	}
	return c.call(step, "tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s%s}`, name, arguments, more))
}

// settle is how long a server is given to say more at the end.
const settle = 300 * time.Millisecond

// all returns everything that was heard, once at least n messages are there or
// nothing more comes.
func (c *client) all(n int) []heard {
	limit := time.After(10 * time.Second)
	for {
		c.mu.Lock()
		enough, changed := len(c.heard) >= n, c.changed
		c.mu.Unlock()
		if !enough {
			select {
			case <-changed:
				continue
			case <-limit:
			}
		}
		break
	}
	time.Sleep(settle)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

// reply is what a client says to a request of the server, always the same.
func (c *client) reply(e envelope) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,%s}`, e.ID, c.outcome(e))
}

const (
	sampled  = `{"role":"assistant","content":{"type":"text","text":"Paris"},"model":"a-model","stopReason":"endTurn"}`
	elicited = `{"action":"accept","content":{"name":"Ada","check":true,"integer":7,"favoriteColor":"Blue","interpretation":"snake"}}`
)

func (c *client) outcome(e envelope) string {
	var p struct {
		Task   json.RawMessage `json:"task"`
		TaskID string          `json:"taskId"`
		Mode   string          `json:"mode"`
	}
	if len(e.Params) > 0 && json.Unmarshal(e.Params, &p) != nil {
		return `"error":{"code":-32602,"message":"no parameters"}`
	}
	kind := map[string]string{"sampling/createMessage": "sampling", "elicitation/create": "elicitation"}[e.Method]
	switch {
	case kind != "" && p.Task != nil:
		return `"result":{"task":{"taskId":"` + kind + `","status":"working","ttl":60000,"createdAt":"2026-01-02T03:04:05Z","lastUpdatedAt":"2026-01-02T03:04:05Z","pollInterval":100}}`
	case kind == "sampling", e.Method == "tasks/result" && p.TaskID == "sampling":
		return `"result":` + sampled
	case kind == "elicitation" && p.Mode == "url":
		return `"result":{"action":"accept"}`
	case kind == "elicitation", e.Method == "tasks/result" && p.TaskID == "elicitation":
		return `"result":` + elicited
	case e.Method == "tasks/get":
		return `"result":{"taskId":"` + p.TaskID + `","status":"` + c.poll(p.TaskID) + `","ttl":60000,"createdAt":"2026-01-02T03:04:05Z","lastUpdatedAt":"2026-01-02T03:04:05Z"}`
	case e.Method == "roots/list":
		return `"result":{"roots":[{"uri":"file:///srv/project","name":"project"}]}`
	case e.Method == "ping":
		return `"result":{}`
	}
	return `"error":{"code":-32601,"message":"the client does not know this method"}`
}

// poll is the status of one of the client's own tasks: done at the second look.
func (c *client) poll(task string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.polls[task]++; c.polls[task] > 1 {
		return "completed"
	}
	return "working"
}
