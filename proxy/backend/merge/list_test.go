package merge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mcp-sidecar/proxy/wire"
)

// tools answers tools/list with entries of those names.
func tools(names ...string) answering { return results(toolsOf(names...)) }

func toolsOf(names ...string) string {
	var all []string
	for _, n := range names {
		all = append(all, `{"name":"`+n+`"}`)
	}
	return `"tools":[` + strings.Join(all, ",") + `]`
}

const list = "tools/list"

// Every entry keeps its bytes but for its name.
func TestMergedListKeepsBytes(t *testing.T) {
	g := merge(t,
		results(`"tools":[{ "inputSchema" : {"big":9007199254740993,"e":1.50e3}, "na\u006de" : "re\u0061d" , "x":null}, {"name":"b"}],"_meta":{"x":1}`),
		results(`"tools":[{"name":"read","unknown":[1,"\u00e9"]}]`))
	const want = `"result":{"tools":[{ "inputSchema" : {"big":9007199254740993,"e":1.50e3}, "na\u006de" : "docs.read" , "x":null},{"name":"docs.b"},{"name":"fs.read","unknown":[1,"\u00e9"]}]}}`
	for _, id := range []string{`1`, `"a\u0062"`, `9007199254740993`} {
		if h := g.must(asking(id, list, "")); h.last != `{"jsonrpc":"2.0","id":`+id+`,`+want {
			t.Errorf("id %s: %s", id, h.last)
		}
	}
}

// All pages of all servers are one page.
func TestMergedListPages(t *testing.T) {
	paged := func(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
		m, _ := wire.Scan(x.Body, wire.Limits{})
		switch cursor := m.Text(m.At(m.Params, "cursor")); cursor {
		case "":
			return results(toolsOf("a")+`,"nextCursor":"p\u0032"`)(ctx, x, sink)
		case "p2":
			return results(toolsOf("b")+`,"nextCursor":"p3"`)(ctx, x, sink)
		default:
			return results(toolsOf("c")+`,"nextCursor":""`)(ctx, x, sink)
		}
	}
	g := merge(t, paged, tools("d"))
	for _, params := range []string{``, `"_meta":{"progressToken":1}`} {
		h := g.must(asking(`1`, list, params))
		if want := response(`1`, toolsOf("docs.a", "docs.b", "docs.c", "fs.d")); h.last != want {
			t.Errorf("%s, want %s", h.last, want)
		}
	}
	ids := map[string]bool{}
	for _, body := range g.docs.bodies()[:3] {
		ids[idIn([]byte(body))] = true
	}
	if len(ids) != 3 {
		t.Errorf("ids of one server's pages: %v", ids)
	}
	noParams := wire.Exchange{Body: []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`), Call: true}
	if h := g.must(noParams); !strings.Contains(h.last, `"docs.c"`) {
		t.Errorf("without params: %s", h.last)
	}
}

func response(id, members string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"result":{` + members + `}}`
}

// There is one page, so there is no other to ask for.
func TestMergedListHasOnePage(t *testing.T) {
	g := merge(t, trapped(t), trapped(t))
	h := g.must(asking(`1`, list, `"cursor":"x"`))
	if !strings.Contains(h.last, `"error":{"code":-32602,`) || h.reply.Status != 200 {
		t.Errorf("%+v %s", h.reply, h.last)
	}
	if h = g.must(askingModern(`1`, list, `"cursor":"x"`)); h.reply.Status != 400 {
		t.Errorf("2026-07-28: %d", h.reply.Status)
	}
}

// A server without an answer is left out, is said to be, once, and comes back. One
// that does not know the method has no such feature: nothing is said.
func TestMergedListLeavesOut(t *testing.T) {
	for _, row := range []struct {
		name  string
		fs    answering
		cause string // empty: nothing is logged
	}{
		{"down", down, "connection refused"},
		{"no such method", refuses(200, -32601), ""},
		{"no such method, 2026-07-28", refuses(404, -32601), ""},
		{"another refusal", refuses(200, -32603), "code -32603"},
		{"a status only", status(500), "HTTP 500"},
		{"own credential refused", refuses(401, -32000), "the sidecar's own credential is refused (HTTP 401); check upstreams.fs.credential"},
		{"no list", results(`"other":[]`), "a list without its entries"},
		{"a list that is none", results(`"tools":{}`), "a list without its entries"},
		{"numbers in the list", results(`"tools":[1]`), "a list without its entries"},
		{"the answer to another request", says(`{"jsonrpc":"2.0","id":99,"result":{"tools":[]}}`), "to another request"},
		{"no JSON", says(`{"jsonrpc":"2.0","id":$ID,"result":{"tools":[}}`), "not valid JSON"},
		{"pages without end", func(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
			return results(`"tools":[],"nextCursor":"x"`)(ctx, x, sink)
		}, "too many pages"},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := merge(t, tools("read"), row.fs)
			for range 2 {
				if h := g.must(asking(`1`, list, "")); h.last != response(`1`, toolsOf("docs.read")) {
					t.Errorf("%s", h.last)
				}
			}
			said := strings.Count(g.log.String(), "takes no part")
			if row.cause == "" && said != 0 || row.cause != "" && (said != 1 || !strings.Contains(g.log.String(), row.cause) || !strings.Contains(g.log.String(), "server=fs")) {
				t.Errorf("the log says %s", g.log)
			}
			g.fs.do = tools("write")
			if h := g.must(asking(`1`, list, "")); h.last != response(`1`, toolsOf("docs.read", "fs.write")) {
				t.Errorf("back again: %s", h.last)
			}
			if back := strings.Count(g.log.String(), "takes part again"); back != said {
				t.Errorf("the log says %s", g.log)
			}
		})
	}
}

// A server that hangs does not take the others along.
func TestMergedListDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, begun := merge(t, tools("read"), hangs), time.Now()
		if h := g.must(asking(`1`, list, "")); h.last != response(`1`, toolsOf("docs.read")) {
			t.Errorf("%s", h.last)
		}
		if !strings.Contains(g.log.String(), "no answer within 8s") || time.Since(begun) != listTime {
			t.Errorf("the log says %s", g.log)
		}
	})
}

// A client that goes away says nothing of the servers.
func TestMergedListLeft(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	g := merge(t, func(ctx context.Context, x wire.Exchange, sink wire.Sink) error {
		leave()
		return hangs(ctx, x, sink)
	}, hangs)
	for name, x := range map[string]wire.Exchange{
		"a request": askingModern(`1`, list, ""), "a notification": {Body: []byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)},
	} {
		if err := g.Do(ctx, x, &heard{}); !errors.Is(err, context.Canceled) || g.log.Len() > 0 {
			t.Errorf("%s: %v; the log says %s", name, err, g.log)
		}
	}
}

// Where no server answers with a list the client reads why.
func TestMergedListWithoutAny(t *testing.T) {
	g := merge(t, down, down)
	if _, err := g.send(asking(`1`, list, "")); err == nil || !strings.Contains(err.Error(), "docs: ") || !strings.Contains(err.Error(), "fs: ") {
		t.Errorf("all down: %v", err)
	}
	g = merge(t, down, refuses(404, -32601))
	if h := g.must(askingModern(`1`, list, "")); h.reply.Status != 404 || !strings.Contains(h.last, `"code":-32601`) {
		t.Errorf("down and refused: %+v %s", h.reply, h.last)
	}
}

// Tool shadowing: what could be taken for another name is not offered.
func TestMergedNames(t *testing.T) {
	long := strings.Repeat("a", 123)
	for _, row := range []struct {
		name  string
		tools string // JSON entries of docs
		want  []string
		said  int // entries that the log names
	}{
		{"plain", `{"name":"read"},{"name":"Write-2"},{"name":"a.b_c"}`, []string{"docs.read", "docs.Write-2", "docs.a.b_c"}, 0},
		{"Cyrillic", `{"name":"re\u0430d"},{"name":"read"}`, []string{"docs.read"}, 1},
		{"full width", `{"name":"\uff52ead"}`, nil, 1},
		{"zero width", `{"name":"re\u200bad"}`, nil, 1},
		{"space", `{"name":"read "},{"name":" read"},{"name":"re ad"}`, nil, 3},
		{"slash", `{"name":"fs/read"}`, nil, 1},
		{"colon", `{"name":"a:b"}`, nil, 1},
		{"control character", `{"name":"read\u0000"},{"name":"read\n"}`, nil, 2},
		{"another server's prefix", `{"name":"fs.read"}`, []string{"docs.fs.read"}, 0},
		{"127 characters", `{"name":"` + long[1:] + `"}`, []string{"docs." + long[1:]}, 0},
		{"128 characters", `{"name":"` + long + `"}`, []string{"docs." + long}, 0},
		{"129 characters", `{"name":"a` + long + `"}`, nil, 1},
		{"empty", `{"name":""}`, nil, 1},
		{"no name", `{}`, nil, 1},
		{"number", `{"name":1}`, nil, 1},
		{"no object", `"read",[],{"name":"ok"}`, []string{"docs.ok"}, 1},
		{"case", `{"name":"read"},{"name":"Read"},{"name":"other"}`, []string{"docs.other"}, 2},
		{"digits for letters", `{"name":"10"},{"name":"lo"}`, nil, 2},
		{"two letters for one", `{"name":"rnove"},{"name":"move"}`, nil, 2},
		{"three that look alike", `{"name":"a1"},{"name":"al"},{"name":"aI"}`, nil, 3},
		{"the same entry twice", `{"name":"read"},{"name":"read"}`, []string{"docs.read"}, 0},
		{"one name, two entries", `{"name":"read"},{"name":"read","title":"x"}`, nil, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := merge(t, results(`"tools":[`+row.tools+`]`), tools("read"), func(o *Options) { o.LookAlike = alike })
			h := g.must(asking(`1`, list, ""))
			if want := response(`1`, toolsOf(append(row.want, "fs.read")...)); h.last != want {
				t.Errorf("got  %s\nwant %s", h.last, want)
			}
			g.must(asking(`1`, list, ""))
			if n := strings.Count(g.log.String(), "is withheld"); n != row.said {
				t.Errorf("%d entries are named in the log, want %d:\n%s", n, row.said, g.log)
			}
		})
	}
}

// alike stands in for the configuration's fold.
func alike(s string) string {
	return strings.NewReplacer("0", "o", "1", "l", "i", "l", "rn", "m").Replace(strings.ToLower(s))
}

// Two servers of one kind may offer the same names: the prefix tells them apart.
func TestMergedSameNames(t *testing.T) {
	g := merge(t, tools("read", "write"), tools("read", "write"))
	if h := g.must(asking(`1`, list, "")); h.last != response(`1`, toolsOf("docs.read", "docs.write", "fs.read", "fs.write")) {
		t.Errorf("%s", h.last)
	}
}

// A resource that two servers list is neither's.
func TestMergedResources(t *testing.T) {
	uris := func(uris ...string) string {
		var all []string
		for _, u := range uris {
			all = append(all, `{"uri":"`+u+`"}`)
		}
		return `"resources":[` + strings.Join(all, ",") + `]`
	}
	templates := func(raw ...string) string {
		var all []string
		for _, u := range raw {
			all = append(all, `{"uriTemplate":"`+u+`"}`)
		}
		return `"resourceTemplates":[` + strings.Join(all, ",") + `]`
	}
	server := func(res, tmpl string) answering {
		return byMethod(map[string]answering{"resources/list": results(res), "resources/templates/list": results(tmpl)})
	}
	g := merge(t,
		server(uris("docs://a", "shared://x", "file:///p", "odd uri \\u0430"), templates("docs://{id}", "same://{id}")),
		server(uris("fs://a", "shared://x", "docs://b"), templates("fs://{+path}", "same://{id}", "file:///{name}")))
	h := g.must(asking(`1`, "resources/templates/list", ""))
	if want := response(`1`, templates("docs://{id}", "fs://{+path}", "file:///{name}")); h.last != want {
		t.Errorf("templates: %s\nwant %s", h.last, want)
	}
	h = g.must(asking(`1`, "resources/list", ""))
	// docs://b is fs's by its list and docs's by a template, file:///p the other way round.
	if want := response(`1`, uris("docs://a", "odd uri \\u0430", "fs://a")); h.last != want {
		t.Errorf("resources: %s\nwant %s", h.last, want)
	}
	for uri, owner := range map[string]string{
		"docs://a": "docs", "docs://7": "docs", "fs://a": "fs", "fs://deep/er": "fs", "odd uri а": "docs", "docs://{id}": "docs", "file:///q": "fs",
		"shared://x": "", "docs://b": "", "file:///p": "", "same://{id}": "", "same://1": "", "docs://a/b": "", "unknown://": "", "": "",
	} {
		server, name := g.Split("", uri)
		if server != owner || owner != "" && name != uri || owner == "" && name != "" {
			t.Errorf("%s is %q's (%q), want %q", uri, server, name, owner)
		}
	}
	if n := strings.Count(g.log.String(), "is withheld"); n != 6 {
		t.Errorf("%d entries are named in the log:\n%s", n, g.log)
	}
}

// Names of prompts and ids of tasks are prefixed too.
func TestMergedPromptsAndTasks(t *testing.T) {
	server := byMethod(map[string]answering{
		"prompts/list": results(`"prompts":[{"name":"greet"},{"name":"Sáy"}]`),
		"tasks/list":   results(`"tasks":[{"taskId":"any id: \u00e9","status":"working"}]`),
	})
	g := merge(t, server, server)
	if h := g.must(asking(`1`, "prompts/list", "")); h.last != response(`1`, `"prompts":[{"name":"docs.greet"},{"name":"fs.greet"}]`) {
		t.Errorf("prompts: %s", h.last)
	}
	if h := g.must(asking(`1`, "tasks/list", "")); h.last != response(`1`, `"tasks":[{"taskId":"docs.any id: é","status":"working"},{"taskId":"fs.any id: é","status":"working"}]`) {
		t.Errorf("tasks: %s", h.last)
	}
}

// Limits at n-1, n and n+1: what exceeds one is left out whole, and nobody else's.
func TestMergedListLimits(t *testing.T) {
	names := func(n int) []string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("t%03d", i))
		}
		return all
	}
	entry := func(n int) string {
		return `"tools":[{"name":"big","x":"` + strings.Repeat("x", n-len(`{"name":"big","x":""}`)) + `"}]`
	}
	for _, row := range []struct {
		name string
		docs string
		fits bool
	}{
		{"entries n-1", toolsOf(names(9)...), true},
		{"entries n", toolsOf(names(10)...), true},
		{"entries n+1", toolsOf(names(11)...), false},
		{"bytes n-1", entry(999), true},
		{"bytes n", entry(1000), true},
		{"bytes n+1", entry(1001), false},
	} {
		g := merge(t, results(row.docs), tools("read"), func(o *Options) { o.Entries, o.EntrySize = 10, 1000 })
		h := g.must(asking(`1`, list, ""))
		if fits := strings.Contains(h.last, `"docs.`); fits != row.fits || !strings.HasSuffix(h.last, toolsOf("fs.read")[len(`"tools":[`):]+"}}") {
			t.Errorf("%s: %s", row.name, h.last)
		}
		if said := strings.Contains(g.log.String(), "more than the limits allow"); said == row.fits {
			t.Errorf("%s: the log says %s", row.name, g.log)
		}
	}
	// Its share of one message: bytes, and indexed values.
	for name, entries := range map[string]string{
		"bytes":  `{"name":"a","x":"` + strings.Repeat("x", 500) + `"}`,
		"values": `{"name":"a","x":[` + strings.Repeat(`"",`, 99) + `""]}`,
	} {
		g := merge(t, results(`"tools":[`+entries+`]`), tools("read"), func(o *Options) { o.MaxResult, o.Answer = 1000, wire.Limits{Values: 200} })
		if h := g.must(asking(`1`, list, "")); h.last != response(`1`, toolsOf("fs.read")) {
			t.Errorf("%s: %s", name, h.last)
		}
	}
}

// How long and by whom a list may be kept: as its strictest part.
func TestMergedCaching(t *testing.T) {
	const none = toolsMembers
	for _, row := range []struct{ name, docs, fs, want string }{
		{"both public", none + `,"ttlMs":500,"cacheScope":"public"`, none + `,"ttlMs":300,"cacheScope":"public"`, `"ttlMs":300,"cacheScope":"public"`},
		{"one private", none + `,"ttlMs":500,"cacheScope":"private"`, none + `,"ttlMs":700,"cacheScope":"public"`, `"ttlMs":500,"cacheScope":"private"`},
		{"one says nothing", none, none + `,"ttlMs":700,"cacheScope":"public"`, `"ttlMs":0,"cacheScope":"private"`},
		{"nonsense", none + `,"ttlMs":-5,"cacheScope":"world"`, none + `,"ttlMs":"700","cacheScope":"public"`, `"ttlMs":0,"cacheScope":"private"`},
	} {
		g := merge(t, results(row.docs), results(row.fs))
		if h := g.must(askingModern(`1`, list, "")); h.last != response(`1`, `"resultType":"complete",`+row.want+`,"tools":[]`) {
			t.Errorf("%s: %s", row.name, h.last)
		}
	}
	g := merge(t, results(none+`,"ttlMs":500,"cacheScope":"public"`), down)
	if h := g.must(askingModern(`1`, list, "")); !strings.Contains(h.last, `"ttlMs":0,`) {
		t.Errorf("a list that lacks a server's part may be kept: %s", h.last)
	}
	g = merge(t, results(none+`,"ttlMs":500,"cacheScope":"public"`), refuses(404, -32601))
	if h := g.must(askingModern(`1`, list, "")); !strings.Contains(h.last, `"ttlMs":500,`) {
		t.Errorf("a server without the feature makes the list stale: %s", h.last)
	}
}

const toolsMembers = `"tools":[]`

// One server's list is asked for where the exchange names it.
func TestMergedListOfOne(t *testing.T) {
	g := merge(t, tools("read"), trapped(t))
	if h := g.must(to("docs", asking(`1`, list, ""))); h.last != response(`1`, toolsOf("docs.read")) {
		t.Errorf("%s", h.last)
	}
	g = merge(t, trapped(t), down)
	if _, err := g.send(to("fs", asking(`1`, list, ""))); err == nil {
		t.Error("a server that is down lists nothing, and that is no error")
	}
}

// Every template is held against every URI, so both are bounded.
func TestTemplates(t *testing.T) {
	for raw, uris := range map[string]map[string]bool{
		"x://{id}":    {"x://1": true, "x://a/b": false, "y://1": false, "x://{id}": true, "x://": true},
		"x://{+path}": {"x://a/b": true, "X://a": false},
		"{+any}":      {"x://1": true, "": true},
		"x://é/{id}":  {"x://%C3%A9/1": false, "x://é/1": true, "x://é/{id}": true},
		"x://{":       {"x://{": true, "x://1": false},
		"x://a?b={q}": {"x://a?b=1": true},
		"x://{id}" + strings.Repeat("y", maxTemplateSize-8):   {"x://1" + strings.Repeat("y", maxTemplateSize-8): true},
		"x://{id}" + strings.Repeat("y", maxTemplateSize-8+1): {"x://1" + strings.Repeat("y", maxTemplateSize-8+1): false},
		"long://{id}": {"long://" + strings.Repeat("y", maxMatched-7): true, "long://" + strings.Repeat("y", maxMatched-6): false},
	} {
		for uri, want := range uris {
			if got := newTemplate(raw).covers(uri); got != want {
				t.Errorf("%.40s covers %.40s: %v", raw, uri, got)
			}
		}
	}
	for _, n := range []int{maxVariables - 1, maxVariables, maxVariables + 1} {
		for form, raw := range map[string]string{"one each": strings.Repeat("{+a}", n-1), "in one": "{+a" + strings.Repeat(",a", n-2) + "}"} {
			var x index
			x.listed = map[string]*listed{}
			x.setTemplates("docs", []string{raw, "x://{id}"})
			if known := x.owner("x://{id}") != ""; known != (n <= maxVariables) {
				t.Errorf("%d variables, %s: the last template is known: %v", n, form, known)
			}
		}
	}
	for _, n := range []int{maxTemplates - 1, maxTemplates, maxTemplates + 1} {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"uriTemplate":"x%d://{id}"}`, i))
		}
		g := merge(t, results(`"resourceTemplates":[`+strings.Join(all, ",")+`]`), results(`"resourceTemplates":[]`))
		h := g.must(asking(`1`, "resources/templates/list", ""))
		if got := strings.Count(h.last, "uriTemplate"); got != min(n, maxTemplates) {
			t.Errorf("%d of %d templates are listed", got, n)
		}
		if said := strings.Count(g.log.String(), "is withheld"); said != max(0, n-maxTemplates) {
			t.Errorf("%d of %d templates: the log says %s", n-maxTemplates, n, g.log)
		}
	}
}
