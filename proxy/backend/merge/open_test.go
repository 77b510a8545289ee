package merge

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"mcp-sidecar/proxy/wire"
)

// speaks is a server that answers initialize in the newest revision it knows that
// is not above the one asked for, as MCP wants it, and counts its sessions.
func speaks(name string, revisions ...string) answering {
	n := 0
	return func(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
		if x.Verb == wire.End {
			return status(204)(ctx, x, sink)
		}
		m, _ := wire.Scan(x.Body, wire.Limits{})
		asked := m.Text(m.Member(m.Params, "protocolVersion"))
		chosen := revisions[0]
		for _, r := range revisions {
			if r == asked {
				chosen = r
			}
		}
		n++
		return saysIn(name+"-"+string(rune('0'+n)), `{"jsonrpc":"2.0","id":$ID,"result":{"protocolVersion":"`+chosen+`","capabilities":{"tools":{}},"serverInfo":{"name":"`+name+`","version":"1"}}}`)(ctx, x, sink)
	}
}

const initialize = `"protocolVersion":"2025-11-25","capabilities":{"roots":{},"tasks":{"list":{}},"sampling":{}},"clientInfo":{"name":"c","version":"1"}`

// All servers speak the lowest revision that any of them chose; who cannot takes no
// part.
func TestMergedRevisions(t *testing.T) {
	for _, row := range []struct {
		name     string
		docs, fs answering
		version  string            // empty: there is no session
		sessions map[string]string // of whom takes part
		ended    string            // sessions that were ended again
		absent   string            // what the log says of who takes no part
	}{
		{name: "the same", docs: speaks("d", "2025-11-25"), fs: speaks("f", "2025-11-25"), version: "2025-11-25", sessions: map[string]string{"docs": "d-1", "fs": "f-1"}},
		{name: "one is older", docs: speaks("d", "2025-11-25", "2025-06-18"), fs: speaks("f", "2025-06-18"), version: "2025-06-18",
			sessions: map[string]string{"docs": "d-2", "fs": "f-1"}, ended: "d-1"},
		{name: "one knows the newest only", docs: speaks("d", "2025-11-25"), fs: speaks("f", "2025-03-26"), version: "2025-03-26",
			sessions: map[string]string{"fs": "f-1"}, ended: "d-1 d-2", absent: "docs does not speak revision 2025-03-26"},
		{name: "one is older than what is served", docs: speaks("d", "2025-11-25"), fs: speaks("f", "2024-11-05"), version: "2025-11-25",
			sessions: map[string]string{"docs": "d-1"}, ended: "f-1", absent: `fs chose revision "2024-11-05", which is not served`},
		{name: "one is down", docs: down, fs: speaks("f", "2025-11-25"), version: "2025-11-25", sessions: map[string]string{"fs": "f-1"}, absent: "docs connection refused"},
		{name: "one refuses", docs: refuses(400, -32022), fs: speaks("f", "2025-11-25"), version: "2025-11-25", sessions: map[string]string{"fs": "f-1"}, absent: "docs code -32022"},
		{name: "one gives no session", docs: results(`"protocolVersion":"2025-11-25","capabilities":{}`), fs: speaks("f", "2025-11-25"), version: "2025-11-25",
			sessions: map[string]string{"docs": "", "fs": "f-1"}},
		{name: "none is served", docs: speaks("d", "2024-11-05"), fs: speaks("f", "2024-11-05"), ended: "d-1 f-1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := merge(t, row.docs, row.fs)
			h, err := g.send(asking(`1`, "initialize", initialize))
			if row.version == "" {
				if err == nil {
					t.Errorf("%+v %s", h.reply, h.last)
				}
			} else {
				if err != nil || h.reply.Status != 200 || h.reply.Session != joined(row.sessions) || !strings.Contains(h.last, `"protocolVersion":"`+row.version+`"`) {
					t.Fatalf("%v %+v %s", err, h.reply, h.last)
				}
			}
			if got := strings.Join(append(ends(g.docs), ends(g.fs)...), " "); got != row.ended {
				t.Errorf("ended %q, want %q", got, row.ended)
			}
			who, what, _ := strings.Cut(row.absent, " ")
			if said := g.log.String(); row.absent != "" && (!strings.Contains(said, "server="+who) || !strings.Contains(strings.ReplaceAll(said, `\"`, `"`), what)) ||
				row.absent == "" && row.version != "" && said != "" {
				t.Errorf("the log says %s", said)
			}
		})
	}
}

func ends(f *fakeServer) []string {
	var all []string
	for _, x := range f.asked() {
		if x.Verb == wire.End {
			all = append(all, x.Session)
		}
	}
	return all
}

// A server that hangs when a session is opened takes no part in it.
func TestMergedOpenDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := merge(t, speaks("d", "2025-11-25"), hangs)
		if h := g.must(asking(`1`, "initialize", initialize)); h.reply.Session != joined(map[string]string{"docs": "d-1"}) {
			t.Errorf("%+v", h.reply)
		}
	})
}

func TestMergedOpenWithoutAny(t *testing.T) {
	g := merge(t, down, down)
	if _, err := g.send(asking(`1`, "initialize", initialize)); err == nil {
		t.Error("a session with nobody")
	}
	g = merge(t, refuses(400, -32022), down)
	if h := g.must(asking(`1`, "initialize", initialize)); h.reply.Status != 400 || h.reply.Session != "" || !strings.Contains(h.last, `-32022`) {
		t.Errorf("%+v %s", h.reply, h.last)
	}
}

// What servers offer is put together; each keeps its own words.
func TestMergedCapabilities(t *testing.T) {
	server := func(caps, instructions string) answering {
		return results(`"protocolVersion":"2025-11-25","capabilities":` + caps + `,"serverInfo":{"name":"x","version":"1"},"instructions":` + instructions + `,"_meta":{"x":1}`)
	}
	g := merge(t,
		server(`{"tools":{"listChanged":false},"resources":{"subscribe":true},"experimental":{"a/b":{"big":9007199254740993}},"logging":{}}`, `"One.\r\nfs:\u2028Two."`),
		server(`{"tools":{"listChanged":true},"resources":{},"prompts":{"listChanged":true},"experimental":{"a/b":{"big":1},"c/d":{}}}`, `" \n"`))
	h := g.must(asking(`"x"`, "initialize", initialize))
	want := `{"jsonrpc":"2.0","id":"x","result":{"protocolVersion":"2025-11-25",` +
		`"capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true},"experimental":{"a/b":{"big":9007199254740993},"c/d":{}},"logging":{},"prompts":{"listChanged":true}},` +
		`"serverInfo":{"name":"mcp-sidecar","title":"docs, fs","version":"1"},"instructions":"docs:\n  One.\n  fs:\n  Two."}}`
	if h.last != want {
		t.Errorf("got  %s\nwant %s", h.last, want)
	}
	// No server learns that the client has tasks: it could ask for another's.
	for _, f := range []*fakeServer{g.docs, g.fs} {
		if got := f.bodies()[0]; !strings.Contains(got, `"capabilities":{"roots":{},"sampling":{}}`) {
			t.Errorf("%s gets %s", f.name, got)
		}
	}
	g = merge(t, results(`"protocolVersion":"2025-11-25"`), results(`"protocolVersion":"2025-11-25","capabilities":true`))
	if h := g.must(asking(`1`, "initialize", initialize)); !strings.Contains(h.last, `"capabilities":true,"serverInfo"`) || strings.Contains(h.last, "instructions") {
		t.Errorf("%s", h.last)
	}
}

// discovers is a server of 2026-07-28.
func discovers(versions, more string) answering {
	return byMethod(map[string]answering{"server/discover": results(`"resultType":"complete","supportedVersions":[` + versions + `],"capabilities":{"tools":{}}` + more)})
}

const (
	dual       = `"2026-07-28","2025-11-25"`
	modernOnly = `"2026-07-28"`
)

func TestMergedDiscover(t *testing.T) {
	for _, row := range []struct {
		name     string
		docs, fs answering
		status   int
		want     string // part of the answer
		absent   bool   // fs takes no part, and the log says so
	}{
		{"both", discovers(dual, `,"ttlMs":500,"cacheScope":"public"`), discovers(dual+`,"2024-11-05"`, `,"ttlMs":300,"cacheScope":"public"`), 200,
			`"result":{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}},"ttlMs":300,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"mcp-sidecar","title":"docs, fs","version":"1"}}}`, false},
		{"one knows the newest only", discovers(dual, ""), discovers(modernOnly, ""), 200, `"supportedVersions":["2026-07-28"]`, false},
		{"an old one that all others can follow", discovers(dual, ""), refuses(404, -32601), 404, `"code":-32601`, false},
		{"an old one with another refusal", discovers(dual, ""), refuses(400, -32022), 400, `"code":-32022`, false},
		{"an old one without words", discovers(dual, ""), status(400), 400, ``, false},
		{"an old one that others cannot follow", discovers(modernOnly, ""), refuses(400, -32022), 200, `"title":"docs"`, true},
		{"one is down", discovers(dual, ""), down, 200, `"title":"docs"`, true},
		{"one is broken", discovers(dual, ""), status(500), 200, `"title":"docs"`, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := merge(t, row.docs, row.fs)
			h := g.must(askingModern(`1`, "server/discover", ""))
			if h.reply.Status != row.status || !strings.Contains(h.last, row.want) || h.reply.Session != "" {
				t.Errorf("%+v %s", h.reply, h.last)
			}
			if said := strings.Contains(g.log.String(), "takes no part"); row.absent != (said && row.status == 200) {
				t.Errorf("the log says %s", g.log)
			}
		})
	}
	g := merge(t, down, down)
	if _, err := g.send(askingModern(`1`, "server/discover", "")); err == nil {
		t.Error("discovered nobody")
	}
}
