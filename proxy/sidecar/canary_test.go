package sidecar

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

// canaryRows send a token everywhere it can be put beside its own header.
func canaryRows(r *rig, rev, token string) map[string]ask {
	call := func(args string) ask { return toolCall(rev, token, "1", "read_document", args) }
	body := func(old, new string) ask {
		a := call(`{"id":1}`)
		a.body = strings.Replace(a.body, old, new, 1)
		return a
	}
	get := func(path string) ask {
		a := call(`{"id":1}`)
		a.path = path
		return a
	}
	rows := map[string]ask{
		"allowed":                  call(`{"id":1}`),
		"list":                     request(rev, token, "1", "tools/list", ""),
		"denied by role":           toolCall(rev, token, "1", "delete_document", `{"id":1,"confirm":true}`),
		"denied by a guard":        toolCall(rev, token, "1", "render_document", `{"format":"a;b"}`),
		"argument":                 call(`{"id":"` + token + `"}`),
		"argument's name":          call(`{"` + token + `":1}`),
		"argument, Base64":         call(`{"id":"` + base64.StdEncoding.EncodeToString([]byte("Bearer "+token)) + `"}`),
		"argument, JSON in text":   call(`{"id":"{\"t\":\"` + token + `\"}"}`),
		"argument that is denied":  toolCall(rev, token, "1", "no_such_tool", `{"t":"`+token+`"}`),
		"id":                       toolCall(rev, token, `"`+token+`"`, "read_document", `{"id":1}`),
		"id of a refused message":  toolCall(rev, token, `"`+token+`"`, "no_such_tool", `{}`),
		"id of an unknown method":  request(rev, token, `"`+token+`"`, "no/such/method", ""),
		"id of broken JSON":        body(`"id":1,`, `"id":"`+token+`",,`),
		"id under a media type":    toolCall(rev, token, `"`+token+`"`, "read_document", `{"id":1}`).with("Content-Type", "text/plain"),
		"method":                   request(rev, token, "1", token, ""),
		"tool":                     toolCall(rev, token, "1", token, `{}`),
		"version of JSON-RPC":      body(`"2.0"`, `"`+token+`"`),
		"member of the message":    body(`"method"`, `"x":"`+token+`","method"`),
		"member name":              body(`"method"`, `"`+token+`":1,"method"`),
		"duplicate member name":    body(`"method"`, `"`+token+`":1,"`+token+`":2,"method"`),
		"behind the message":       body(`{`, token+`{`),
		"revision":                 call(`{"id":1}`).with("Mcp-Protocol-Version", token),
		"Mcp-Method":               call(`{"id":1}`).with("Mcp-Method", token),
		"Mcp-Name":                 call(`{"id":1}`).with("Mcp-Name", token),
		"Mcp-Param":                call(`{"id":1}`).with("Mcp-Param-Token", token),
		"session":                  call(`{"id":1}`).with("Mcp-Session-Id", token),
		"Origin":                   call(`{"id":1}`).with("Origin", "https://"+token),
		"Content-Type":             call(`{"id":1}`).with("Content-Type", "application/json; x="+token),
		"Content-Encoding":         call(`{"id":1}`).with("Content-Encoding", token),
		"second Authorization":     call(`{"id":1}`).with("Authorization", "Bearer "+token, "Bearer "+token),
		"other scheme":             call(`{"id":1}`).with("Authorization", "Token "+token),
		"Cookie":                   call(`{"id":1}`).with("Cookie", "t="+token),
		"User-Agent":               call(`{"id":1}`).with("User-Agent", token),
		"X-Forwarded-Access-Token": call(`{"id":1}`).with("X-Forwarded-Access-Token", token),
		"query":                    get("/mcp?access_token=" + token),
		"other query":              get("/mcp?t=" + token),
		"path":                     get("/" + token),
		"cancelled":                notify(rev, token, "notifications/cancelled", `"requestId":"`+token+`"`),
		"unknown notification":     notify(rev, token, token, ""),
		"client's name":            request(rev, token, "1", "tools/list", `"_client":{"name":"`+token+`"}`),
		"progress token":           body(`"name":`, `"x":{"progressToken":"`+token+`"},"name":`),
	}
	host := call(`{"id":1}`)
	host.host = token + ".example"
	rows["Host"] = host
	method := call(`{"id":1}`)
	method.method = token
	rows["HTTP method"] = method
	if rev == legacy {
		rows["initialize"] = request(rev, token, "1", "initialize", `"protocolVersion":"`+token+`"`)
		rows["initialize in an old revision"] = request(rev, token, "1", "initialize", `"protocolVersion":"1`+token+`"`)
		rows["end of a session"] = endOf(token, token)
		rows["revision at the end of a session"] = endOf(token, r.initialize("alice")).with("Mcp-Protocol-Version", token)
		rows["initialize names itself"] = request(rev, token, "1", "initialize", `"protocolVersion":"2025-11-25","clientInfo":{"name":"`+token+`"}`)
	}
	return rows
}

// TestCanary: wherever a client puts its token, no 12 bytes of it arrive at the
// upstream, in the audit file, in the log, or in an answer.
func TestCanary(t *testing.T) {
	t.Parallel()
	for _, rev := range bothRevisions {
		r := start(t, setup{inventory: demoInventory, upstream: stateful()})
		token := r.token("carol")
		for name, a := range canaryRows(r, rev, token) {
			t.Run(name+"/"+rev, func(t *testing.T) {
				before := r.leaks(token)
				r.do(a)
				for where, n := range r.leaks(token) {
					if n > before[where] {
						t.Errorf("%s holds a slice of the token", where)
					}
				}
			})
		}
	}
}

// A token that does not hold is kept out as well: it may hold elsewhere.
func TestCanaryOfRefusedTokens(t *testing.T) {
	t.Parallel()
	for name, introspect := range map[string]http.HandlerFunc{
		"unknown":  jsonBody(`{"active":false}`),
		"foreign":  jsonBody(`{"active":true,"sub":"alice","aud":"other"}`),
		"down":     status(500),
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		r := start(t, setup{introspect: introspect})
		const token = "FOREIGN3TOKEN5FOREIGN7TOKEN9"
		r.tokens[name] = token
		for _, rev := range bothRevisions {
			for _, a := range []ask{
				toolCall(rev, token, "1", "read_document", `{"t":"`+token+`"}`),
				toolCall(rev, token, `"`+token+`"`, token, `{}`),
				request(rev, token, `"`+token+`"`, token, ""),
			} {
				if g := r.do(a); bytes.Contains(g.body, []byte(`"result"`)) {
					t.Errorf("%s: %d %s", name, g.status, g.body)
				}
			}
		}
		for where := range r.leaks(token) {
			t.Errorf("%s: %s holds a slice of the token", name, where)
		}
	}
}

// leaks says where slices of 12 bytes of token can be found, and how many.
func (r *rig) leaks(token string) map[string]int {
	file, err := os.ReadFile(r.auditLog)
	if err != nil {
		r.t.Fatal(err)
	}
	found := map[string]int{}
	upstreams := ""
	for _, u := range r.ups {
		upstreams += u.everything()
	}
	for where, text := range map[string]string{
		"an upstream": upstreams, "the audit file": string(file), "the log": r.stderr.String(), "an answer": r.answers.String(),
	} {
		if n := leaked(text, token); n > 0 {
			found[where] = n
		}
	}
	return found
}

// checkCanaries looks for every token that the rig ever used.
func (r *rig) checkCanaries() {
	r.t.Helper()
	for name, token := range r.tokens {
		for where, n := range r.leaks(token) {
			r.t.Errorf("%s holds %d slices of the token of %q", where, n, name)
		}
	}
	for _, secret := range r.own {
		for where, n := range r.leaks(secret) {
			if where != "an upstream" {
				r.t.Errorf("%s holds %d slices of a secret of the sidecar's own", where, n)
			}
		}
	}
}

// leaked counts the slices of token that occur in text: raw, in Base64 at any
// alignment, or percent-encoded.
func leaked(text, token string) (n int) {
	const size = 12
	for i := 0; i+size <= len(token); i++ {
		slice := token[i : i+size]
		forms := map[string]bool{
			slice: true, url.QueryEscape(slice): true,
			base64.StdEncoding.EncodeToString([]byte(slice)): true, base64.URLEncoding.EncodeToString([]byte(slice)): true,
		}
		for form := range forms {
			n += strings.Count(text, form)
		}
	}
	return n
}

// The search finds what it is for.
func TestLeaked(t *testing.T) {
	const token = "ABCDEFGHIJKLMNOPQRSTUVWX+/=="
	for _, text := range []string{
		"x" + token[3:15] + "y", "Bearer " + token,
		base64.StdEncoding.EncodeToString([]byte(token)), base64.StdEncoding.EncodeToString([]byte("x" + token)), base64.URLEncoding.EncodeToString([]byte("xy" + token)),
		url.QueryEscape(token[16:]),
	} {
		if leaked(text, token) == 0 {
			t.Errorf("nothing found in %q", text)
		}
	}
	if n := leaked("ABCDEFGHIJK LMNOPQRSTUV", token); n != 0 {
		t.Errorf("found %d slices where there are none", n)
	}
}
