package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// column is one of the two ways to the same tools: direct or proxied. A sensor
// that is missing, because the servers were started elsewhere, makes the effects
// that need it "not measured".
type column struct {
	name     string
	url      string             // of the MCP endpoint that its clients use
	login    string             // of the one at which they can log in; may be empty
	revision string             // of MCP
	command  []string           // that they start in place of it, over stdio
	users    map[string]*client // by name, each connected with a token of its own
	tokens   map[string]string  // by name; a user's own under the user's name
	detours  map[string]detour  // other ways to the same server, by name
	recorder watcher            // in front of the document server; may be nil
	scratch  string             // home folder of the server's shell; may be empty
	fakes    *fakes             // the outside hosts; may be nil
	service  string             // the credential that the server wants; may be empty
	database string             // the name of the documents' database, which the server tells in errors; empty is that of memory
	audit    tape               // the sidecar's audit file; may be empty
	brokered *brokered          // may be nil
	operator *operator          // who can change the policy; may be nil
	outward  *client            // alice's, where the server reaches the outside by the egress proxy; may be nil
	outwards tape               // of the server that outward calls; may be empty
	door     *column            // the sidecar's, where whatever was captured can be tried

	last int // highest document ID seen so far
}

// detour leads to a column's server through something that stands in front of it.
type detour struct {
	url   string
	alice *client // hers are the only calls that take it
}

// watcher keeps what a document server receives.
type watcher interface {
	mark() int // a position for since
	since(mark int) []recorded
}

// event is what happened to one trial in one column.
type event struct {
	trial    trial
	id       int // of the trial's document, 0 without one
	token    string
	database string // that the document server tells of
	answer   answer
	sent     passenger      // of the call
	session  string         // that the trial has opened, if any
	logins   string         // what the user was asked for, if there were logins
	asked    string         // which pages asked the user, if there were any
	page     string         // where the user's browser has stopped
	arrived  bool           // the program that asked has got a code
	imported string         // what the server has stored of a page that it fetched
	inForce  bool           // every sidecar goes by what was arranged
	granted  int            // tokens that the third party has given out for it
	received []recorded     // what the document server got during the call
	audited  []recorded     // the sidecar's records of the call
	hits     map[string]int // of the fakes, during the call
}

// perform sends the trial's request and collects what the sensors saw meanwhile.
// A preparation that goes wrong shows as a call that failed.
func (c *column) perform(ctx context.Context, t trial) event {
	e := event{trial: t, token: c.tokens[t.user], database: cmp.Or(c.database, memoryName)}
	if t.token != "" {
		e.token = c.tokens[t.token]
	}
	if err := c.prepare(ctx, t, &e); err != nil {
		e.answer = answer{failed, "preparing: " + err.Error()}
		return e
	}
	if t.arrange != nil {
		if err := t.arrange(ctx, c, &e); err != nil {
			e.answer = answer{failed, "arranging: " + err.Error()}
			return e
		}
	}
	stop := c.watch(&e)
	if t.send != nil {
		e.answer = t.send(ctx, c, &e)
	} else {
		e.sent = passenger{token: e.token, headers: t.headersWith(e.token)}
		e.answer = c.caller(t).callWith(ctx, &e.sent, t.tool, withID(t.args, e.id))
	}
	stop()
	if id, ok := namedID(e.answer.Text); ok && e.answer.Outcome == allowed {
		c.last = max(c.last, id)
	}
	return e
}

// caller is the connection that t uses.
func (c *column) caller(t trial) *client {
	if d, ok := c.detours[t.way]; ok {
		return d.alice
	}
	return c.users[t.user]
}

// prepare makes the trial's document and puts the canary in its place.
func (c *column) prepare(ctx context.Context, t trial, e *event) (err error) {
	if c.scratch != "" {
		if err := placeCanary(c.scratch); err != nil {
			return err
		}
	}
	if t.document == "" {
		return nil
	}
	if e.id, err = c.create(ctx, t.document); err != nil || !t.deleted {
		return err
	}
	a := c.users["alice"].call(ctx, "", "delete_document", args{"id": e.id, "confirm": true})
	if a.Outcome != allowed {
		return fmt.Errorf("deleting document %d: %s", e.id, a.Text)
	}
	return nil
}

// create stores a document of alice's and returns its ID.
func (c *column) create(ctx context.Context, text string) (int, error) {
	a := c.users["alice"].call(ctx, "", "create_document", args{"content": text, "created_by": "alice"})
	id, ok := namedID(a.Text)
	if a.Outcome != allowed || !ok {
		return 0, fmt.Errorf("creating a document: %s", a.Text)
	}
	c.last = max(c.last, id)
	return id, nil
}

// look reads a document as alice, who may read everything in both columns.
func (c *column) look(ctx context.Context, id int) (text string, there bool, err error) {
	a := c.users["alice"].call(ctx, "", "read_document", args{"id": id})
	switch {
	case a.Outcome == allowed:
		return a.Text, true, nil
	case a.Outcome == rejected && strings.Contains(a.Text, fmt.Sprintf("no document id=%d in ", id)):
		return "", false, nil
	}
	return "", false, fmt.Errorf("reading document %d: %s", id, a.Text)
}

// watch returns a function that ends the watch and fills e.
func (c *column) watch(e *event) (stop func()) {
	var mark int
	var before map[string]int
	if c.recorder != nil {
		mark = c.recorder.mark()
	}
	records := c.audit.mark()
	if c.fakes != nil {
		before = c.fakes.count()
	}
	return func() {
		if c.recorder != nil {
			e.received = c.recorder.since(mark)
		}
		e.audited = c.audit.since(records)
		if c.fakes != nil {
			e.hits = c.fakes.count()
			for host, n := range before {
				e.hits[host] -= n
			}
		}
	}
}

func (c *column) close() {
	for _, user := range c.users {
		user.close()
	}
	for _, d := range c.detours {
		d.alice.close()
	}
}

// withID returns a copy of a in which the document's ID is filled in.
func withID(a args, id int) args {
	filled := maps.Clone(a)
	for name, value := range filled {
		if value == idArgument {
			filled[name] = id
		}
	}
	return filled
}

var idPattern = regexp.MustCompile(`\bid=([0-9]+)`)

// namedID finds the document ID that a text of the server names.
func namedID(text string) (int, bool) {
	m := idPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	id, err := strconv.Atoi(m[1])
	return id, err == nil
}

// memoryName is what the document server calls its memory.
const memoryName = "postgres://docs:n4ive@db:5432/documents"

// outsideText is what outsideFile holds: three words.
const outsideText = "none of yours\n"

// canaryFile is what a successful command injection deletes.
const canaryFile = "canary.txt"

// placeCanary makes the folder and the canary in it, again if an attack removed
// them.
func placeCanary(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, canaryFile), []byte("alive\n"), 0o600)
}

func hasCanary(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, canaryFile))
	return err == nil
}
