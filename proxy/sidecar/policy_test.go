package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/audit"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/wire"
)

// changePolicy replaces the policy file in one step, and waits until the sidecar has
// said on record what it makes of it.
func (r *rig) changePolicy(text string) {
	r.t.Helper()
	said := len(r.policyRecords())
	file := r.sidecar.cfg.Resolve("policy.csv")
	err := os.WriteFile(file+".new", []byte(text), 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.eventually(func() bool { return len(r.policyRecords()) > said })
	r.records()
}

func (r *rig) revision() string { return r.sidecar.parts.policy.Health().Revision }

// policyRecords are the records of the policy's own changes: outcome, reason, revision.
func (r *rig) policyRecords() (all []string) {
	for line := range strings.Lines(r.auditText()) {
		var e audit.Event
		if json.Unmarshal([]byte(line), &e) == nil && e.Stage == "policy" {
			all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Outcome, e.Policy, e.Reason)))
		}
	}
	return all
}

// A role that is taken away in the file is gone from calls and lists, with nothing
// restarted; a file that cannot be used changes nothing and is seen; and what decides is
// on record.
func TestPolicyFileIsFollowed(t *testing.T) {
	t.Parallel()
	const without, bad = "p, role:viewer, document, read\n", "p, role:viewer, docs/*_document, read\n"
	for _, rev := range bothRevisions {
		t.Run(rev, func(t *testing.T) {
			t.Parallel()
			r := start(t, setup{inventory: demoInventory, upstream: toolsResult("", demoInventory), extra: withProbes, poll: often})
			read := func() string {
				t.Helper()
				r.records()
				touched := r.touched()
				g := r.do(toolCall(rev, r.token("carol"), "7", "read_document", `{"id":1}`))
				e := r.outcome()
				if e.Policy != r.revision() {
					t.Errorf("decided by %s, on record is %s", r.revision(), e.Policy)
				}
				if denied := e.Outcome != "allowed"; denied != (r.touched() == touched) {
					t.Errorf("%s, and %d requests reached the server", e.Outcome, r.touched()-touched)
				}
				return fmt.Sprintf("%d %s %s", g.status, e.Outcome, e.Reason)
			}
			const allowed, denied = "200 allowed ", "200 not_authorized role"
			expect := func(step, want string) {
				t.Helper()
				if got := read(); got != want {
					t.Errorf("%s: %s, want %s", step, got, want)
				}
				if got := slices.Contains(r.listed(rev, "carol"), "read_document"); got != (want == allowed) {
					t.Errorf("%s: listed %v", step, got)
				}
			}
			expect("at first", allowed)
			first := r.revision()
			r.changePolicy(without)
			expect("without the role", denied)
			second := r.revision()
			r.changePolicy(bad)
			expect("with a file that cannot be used", denied)
			if code, body := r.probe(ReadyPath); code != http.StatusOK || !strings.Contains(body, `{"name":"policy","ok":false,"why":"cannot be used`) {
				t.Errorf("%d %s", code, body)
			}
			if log := r.stderr.String(); !strings.Contains(log, "cannot be used; the one before stays in force") || !strings.Contains(log, "policy.csv:1: ") {
				t.Errorf("%s", log)
			}
			r.changePolicy(demoPolicy)
			expect("with the role again", allowed)
			if code, body := r.probe(ReadyPath); code != http.StatusOK || !strings.Contains(body, `{"name":"policy","ok":true}`) {
				t.Errorf("%d %s", code, body)
			}
			if got, want := r.policyRecords(), []string{"changed " + second, "refused " + second + " policy-invalid", "changed " + first}; !slices.Equal(got, want) {
				t.Errorf("on record %q, want %q", got, want)
			}
		})
	}
}

// A policy that nobody confirms is in force for max_age, and not a moment longer: then
// every message is refused in the same way, and nothing reaches a server.
func TestPolicyTooOld(t *testing.T) {
	t.Parallel()
	old := setup{inventory: demoInventory, upstream: stateful(), maxAge: "1m", poll: time.Hour, extra: withProbes}
	t.Run("denied", func(t *testing.T) {
		t.Parallel()
		r := start(t, old)
		session := r.initialize("alice")
		r.clock.advance(time.Minute - 1)
		if g := r.do(toolCall(legacy, r.token("alice"), "1", "read_document", `{"id":1}`).in(session)); g.status != http.StatusOK {
			t.Errorf("a moment before: %d %s", g.status, g.body)
		}
		r.clock.advance(1)
		for name, message := range map[string]ask{
			"call":         toolCall(legacy, r.token("alice"), "7", "read_document", `{"id":1}`).in(session),
			"modern call":  toolCall(modern, r.token("alice"), "7", "read_document", `{"id":1}`),
			"list":         request(legacy, r.token("alice"), "7", "tools/list", "").in(session),
			"modern list":  request(modern, r.token("alice"), "7", "tools/list", ""),
			"read":         request(legacy, r.token("alice"), "7", "resources/read", `"uri":"memo://public/a"`).in(session),
			"ping":         request(legacy, r.token("alice"), "7", "ping", "").in(session),
			"initialize":   request(legacy, r.token("alice"), "7", "initialize", initParams),
			"notification": notify(legacy, r.token("alice"), "notifications/initialized", "").in(session),
			"stream":       getOf(r.token("alice"), session, ""),
		} {
			t.Run(name, func(t *testing.T) {
				r.records()
				touched := r.touched()
				g := r.do(message)
				e := r.outcome()
				if g.status != http.StatusServiceUnavailable || !strings.Contains(string(g.body), `"code":50300,"message":"temporarily unavailable (audit `+e.ID+`)"`) || !strings.Contains(string(g.body), `"reason":"policy-age"`) {
					t.Errorf("%d %s", g.status, g.body)
				}
				if e.Stage != "authorize" || e.Outcome != "unavailable" || e.Reason != "policy-age" || r.touched() != touched {
					t.Errorf("%+v, %d requests reached the server", e, r.touched()-touched)
				}
			})
		}
		if code, body := r.probe(ReadyPath); code != http.StatusServiceUnavailable || !strings.Contains(body, `"name":"policy","ok":false,"why":"has not been confirmed`) {
			t.Errorf("%d %s", code, body)
		}
		if g := r.do(endOf(r.token("alice"), session)); g.status != http.StatusNoContent && g.status != http.StatusOK {
			t.Errorf("a session could not be ended: %d %s", g.status, g.body)
		}
		r.sidecar.parts.policy.Look(t.Context())
		r.records()
		if g := r.do(toolCall(modern, r.token("alice"), "7", "read_document", `{"id":1}`)); g.status != http.StatusOK || r.outcome().Outcome != "allowed" {
			t.Errorf("confirmed again: %d %s", g.status, g.body)
		}
	})
	t.Run("observed", func(t *testing.T) {
		t.Parallel()
		s := old
		s.preset, s.upstream = "observe", text("done")
		r := start(t, s)
		r.clock.advance(time.Hour)
		g := r.do(toolCall(modern, r.token("alice"), "7", "read_document", `{"id":1}`))
		if e := r.outcome(); g.status != http.StatusOK || e.Outcome != "allowed" || !slices.Contains(e.Would, "authorize: temporarily unavailable") {
			t.Errorf("%d %+v", g.status, e)
		}
	})
	t.Run("said", func(t *testing.T) {
		t.Parallel()
		s := old
		s.poll = often
		r := start(t, s)
		if err := os.Remove(r.sidecar.cfg.Resolve("policy.csv")); err != nil {
			t.Fatal(err)
		}
		r.eventually(func() bool { return r.sidecar.parts.policy.Health().Problem != nil })
		r.clock.advance(time.Hour)
		r.eventually(func() bool { return len(r.policyRecords()) == 1 })
		if got := r.policyRecords(); !slices.Equal(got, []string{"denied " + r.revision() + " policy-age"}) {
			t.Errorf("%q", got)
		}
		if log := r.stderr.String(); !strings.Contains(log, "cannot be read again") || !strings.Contains(log, "everything is denied") {
			t.Errorf("%s", log)
		}
	})
}

// What of a policy does nothing is counted at the start, and in the log after a change.
func TestPolicyLintIsLogged(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done"), poll: often, policy: demoPolicy + "p, role:auditor, document, read\n"})
	var summary strings.Builder
	r.sidecar.Summary(&summary)
	if !strings.Contains(summary.String(), "the policy has 1 row(s) without effect") {
		t.Errorf("%s", summary.String())
	}
	r.changePolicy(demoPolicy + "p, role:admin, dokument, read\n")
	r.eventually(func() bool { return strings.Contains(r.stderr.String(), `"why":"no tool acts on dokument"`) })
	if log := r.stderr.String(); !strings.Contains(log, `"msg":"the policy has a row without effect"`) || strings.Contains(log, "role:auditor") {
		t.Errorf("%s", log)
	}
}

// Advice about many rows takes its time; a change that takes a right away does not wait
// for it.
func TestPolicyLintIsBounded(t *testing.T) {
	t.Parallel()
	for rows, want := range map[int]bool{maxLinted: true, maxLinted + 1: false} {
		var b strings.Builder
		for i := range rows {
			fmt.Fprintf(&b, "p, role:auditor, document, read%d\n", i)
		}
		r := start(t, setup{inventory: demoInventory, upstream: text("done"), policy: b.String()})
		var summary strings.Builder
		r.sidecar.Summary(&summary)
		if got := strings.Contains(summary.String(), "without effect"); got != want {
			t.Errorf("%d rows, read: %v\n%s", rows, got, summary.String())
		}
	}
}

// A stream that is open for hours is told nothing more of what its reader may not read
// any more.
func TestStreamsFollowThePolicy(t *testing.T) {
	t.Parallel()
	const sealed = featurePolicy + "p, user:alice, docs/resource:memo://public/a, *, deny\n"
	other := strings.Replace(updated, "public/a", "public/b", 1)
	t.Run(modern, func(t *testing.T) {
		feed := make(chan string, 8)
		r := start(t, setup{policy: featurePolicy, upstream: listeningTo(feed), poll: often})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		resp := r.open(ctx, request(modern, r.token("alice"), `"l-1"`, "subscriptions/listen", `"notifications":{"resourceSubscriptions":["memo://public/a","memo://public/b"]}`))
		defer resp.Body.Close()
		events := wire.NewEventReader(resp.Body, 1<<20)
		next(t, events) // the acknowledgement
		feed <- updated
		if ev := next(t, events); !strings.Contains(string(ev.Data), "public/a") {
			t.Errorf("%s", ev.Data)
		}
		r.changePolicy(sealed)
		feed <- updated + other
		if ev := next(t, events); !strings.Contains(string(ev.Data), "public/b") {
			t.Errorf("%s", ev.Data)
		}
	})
	t.Run(legacy, func(t *testing.T) {
		up := newStreaming()
		r := start(t, setup{policy: featurePolicy, upstream: up.ServeHTTP, poll: often})
		events, _ := r.listen(t, "alice", r.initialize("alice"), "")
		feed, _ := up.feed(0)
		feed <- updated
		if ev := next(t, events); !strings.Contains(string(ev.Data), "public/a") {
			t.Errorf("%s", ev.Data)
		}
		r.changePolicy(sealed)
		feed <- updated + other
		if ev := next(t, events); !strings.Contains(string(ev.Data), "public/b") {
			t.Errorf("%s", ev.Data)
		}
	})
}

// A change that cannot be put on record is in force all the same: taking a right away
// must not wait for a disk.
func TestPolicyChangesWithoutRecord(t *testing.T) {
	t.Parallel()
	r := start(t, setup{inventory: demoInventory, upstream: text("done"), poll: often, change: func(cfg *config.Config) {
		cfg.Audit.File = filepath.Join(cfg.StateDir, "audit.jsonl")
	}})
	if err := r.sidecar.audit.Close(); err != nil {
		t.Fatal(err)
	}
	was := r.revision()
	if err := os.WriteFile(r.sidecar.cfg.Resolve("policy.csv"), []byte("p, role:viewer, document, read\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.eventually(func() bool { return r.revision() != was })
}

// What the configuration has and the server does not is in the log as soon as the server
// has listed its tools, whoever asked, and each thing once.
func TestUnlistedIsLogged(t *testing.T) {
	t.Parallel()
	const (
		tools = "\n  docs/update_document: { resource: document, action: update, args: { idd: { min: 1 }, id: { min: 1 } } }\n" +
			"  docs/delete_documents: { resource: document, action: delete }\n"
		listing  = `[{"name":"update_document","inputSchema":{"type":"object","properties":{"id":{"type":"integer"}}}}]`
		argument = `"at":"tools.docs/update_document.args.idd"`
		tool     = `"at":"tools.docs/delete_documents"`
	)
	changed := events("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\ndata: " + response("$ID", doneResult) + "\n\n")
	for _, row := range []struct {
		name      string
		inventory string
		upstream  http.HandlerFunc
		ask       func(r *rig, id string) ask
		tool, arg int
	}{
		{"with a call", listing, text("done"), func(r *rig, id string) ask { return r.update(modern, id) }, 1, 1},
		{"with a client's own list", "", toolsResult("", listing), func(r *rig, id string) ask { return request(modern, r.token("alice"), id, "tools/list", "") }, 1, 1},
		{"again after a change", listing, changed, func(r *rig, id string) ask { return r.update(modern, id) }, 1, 1},
		{"a tool that takes any", `[{"name":"update_document","inputSchema":{"type":"object"}},{"name":"delete_documents"}]`, text("done"), func(r *rig, id string) ask { return r.update(modern, id) }, 0, 0},
		{"a schema of several parts", `[{"name":"update_document","inputSchema":{"allOf":[{"properties":{"idd":{}}}],"properties":{"id":{}}}},{"name":"delete_documents"}]`, text("done"), func(r *rig, id string) ask { return r.update(modern, id) }, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, setup{inventory: row.inventory, upstream: row.upstream, tools: tools})
			if log := r.stderr.String(); strings.Contains(log, "does not list") {
				t.Errorf("before the server was asked: %s", log)
			}
			for _, id := range []string{"1", "2", "3"} {
				r.do(row.ask(r, id))
			}
			log := r.stderr.String()
			if strings.Count(log, tool) != row.tool || strings.Count(log, argument) != row.arg || strings.Count(log, "does not list") != row.tool+row.arg {
				t.Errorf("%s", log)
			}
		})
	}
}
