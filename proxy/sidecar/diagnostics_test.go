package sidecar

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const withProbes = "diagnostics: { listen: \"127.0.0.1:0\" }\n"

// probe reads a probe of r and returns its status and body.
func (r *rig) probe(path string) (int, string) {
	r.t.Helper()
	g := r.probed(http.MethodGet, path, "")
	return g.status, string(g.body)
}

func (r *rig) probed(method, path, host string) got {
	r.t.Helper()
	req, err := http.NewRequest(method, r.sidecar.ProbeURL()+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host = host
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return got{resp.StatusCode, resp.Header, body}
}

// isProbe recognises the sidecar's own question to a server.
func isProbe(body string) bool { return strings.Contains(body, `"mcp-sidecar/ready"`) }

// TestReadiness: ready is who has rules and a server that answered once.
func TestReadiness(t *testing.T) {
	t.Parallel()
	const (
		ready   = `{"ready":true,"checks":[{"name":"policy","ok":true},{"name":"upstream docs","ok":true},{"name":"serving","ok":true}]}` + "\n"
		waiting = `{"ready":false,"checks":[{"name":"policy","ok":true},{"name":"upstream docs","ok":false,"why":"has not answered yet"},{"name":"serving","ok":true}]}` + "\n"
	)
	for _, row := range []struct {
		name     string
		upstream http.HandlerFunc
		want     bool
	}{
		{"answers", result(""), true},
		{"does not know the method", always(404, "text/plain", "no"), true},
		{"wants a session", status(400), true},
		{"an error of its own", status(500), false},
		{"not there yet", status(503), false},
		{"refuses our credential", status(401), false},
		{"redirects", status(302), false},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := start(t, setup{upstream: row.upstream, extra: withProbes})
			code, body := r.probe(ReadyPath)
			want, wantBody := http.StatusServiceUnavailable, waiting
			if row.want {
				want, wantBody = http.StatusOK, ready
			}
			if code != want || body != wantBody {
				t.Errorf("%d %s, want %d %s", code, body, want, wantBody)
			}
			if live, body := r.probe(LivePath); live != http.StatusOK || body != "{\"live\":true}\n" {
				t.Errorf("livez: %d %s", live, body)
			}
			seen := r.up.seen()
			if len(seen) != 1 || !isProbe(seen[0].body) || seen[0].header.Get("Authorization") != "Bearer "+service {
				t.Errorf("the server was asked %d times: %+v", len(seen), seen)
			}
			if n := len(r.records()); n != 0 {
				t.Errorf("%d records of probes", n)
			}
		})
	}
}

// TestReadinessIsRemembered: a server that has answered is not asked again, and
// one that has not only once in a while, whoever asks how often.
func TestReadinessIsRemembered(t *testing.T) {
	t.Parallel()
	r := start(t, setup{upstream: status(503), extra: withProbes})
	expect := func(what string, code, asked int) {
		t.Helper()
		for range 5 {
			if got, body := r.probe(ReadyPath); got != code {
				t.Errorf("%s: %d %s, want %d", what, got, body, code)
			}
		}
		if n := len(r.up.seen()); n != asked {
			t.Errorf("%s: the server was asked %d times, want %d", what, n, asked)
		}
	}
	expect("down", http.StatusServiceUnavailable, 1)
	r.clock.advance(probeAgain - 1)
	expect("a moment later", http.StatusServiceUnavailable, 1)
	r.clock.advance(1)
	expect("still down", http.StatusServiceUnavailable, 2)
	if n := strings.Count(r.stderr.String(), "not ready"); n != 1 {
		t.Errorf("said %d times:\n%s", n, r.stderr)
	}
	r.up.answerWith(result(""))
	expect("remembered", http.StatusServiceUnavailable, 2)
	r.clock.advance(probeAgain)
	expect("up", http.StatusOK, 3)
	r.up.answerWith(status(503))
	r.clock.advance(time.Hour)
	expect("down again, for its callers to see", http.StatusOK, 3)
}

// TestReadinessOfSeveral: one server that answers is enough, and the others are
// named, whether or not they are offered together.
func TestReadinessOfSeveral(t *testing.T) {
	t.Parallel()
	for _, extra := range []string{withProbes, withProbes + "merge: true\n"} {
		s := several(status(503), status(503))
		s.extra = extra
		r := start(t, s)
		if code, body := r.probe(ReadyPath); code != http.StatusServiceUnavailable || strings.Count(body, "has not answered yet") != 2 {
			t.Errorf("none answers: %d %s", code, body)
		}
		r.ups["fs"].answerWith(result(""))
		r.clock.advance(probeAgain)
		code, body := r.probe(ReadyPath)
		var state Readiness
		if err := json.Unmarshal([]byte(body), &state); err != nil || code != http.StatusOK || !state.Ready {
			t.Fatalf("one answers: %d %s", code, body)
		}
		want := []Check{{Name: "policy", OK: true}, {Name: "upstream docs", Why: "has not answered yet"}, {Name: "upstream fs", OK: true}, {Name: "serving", OK: true}}
		if !slices.Equal(state.Checks, want) {
			t.Errorf("checks %+v", state.Checks)
		}
	}
}

// TestSilentUpstreamIsNotReady: a probe ends although the server does not answer.
func TestSilentUpstreamIsNotReady(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	r := start(t, setup{extra: withProbes, clientTime: 50 * time.Millisecond, upstream: func(_ http.ResponseWriter, req *http.Request) {
		<-req.Context().Done()
		close(gone)
	}})
	if code, body := r.probe(ReadyPath); code != http.StatusServiceUnavailable || !strings.Contains(body, "has not answered yet") {
		t.Errorf("%d %s", code, body)
	}
	<-gone
	if strings.Contains(r.stderr.String(), service) {
		t.Errorf("the credential was logged:\n%s", r.stderr)
	}
}

// TestProbesOnly: nothing but probes at their address, for nobody but who knows
// it by its own name, and no probes at the address of the endpoint.
func TestProbesOnly(t *testing.T) {
	t.Parallel()
	r := start(t, setup{extra: withProbes + "allowed_hosts: [sidecar.internal]\n"})
	at := strings.TrimPrefix(r.sidecar.ProbeURL(), "http://")
	_, port, _ := net.SplitHostPort(at)
	for _, row := range []struct {
		name, method, path, host string
		want                     int
	}{
		{"live", "GET", LivePath, at, 200},
		{"live without its body", "HEAD", LivePath, at, 200},
		{"live by another name", "GET", LivePath, "sidecar.internal:9464", 200},
		{"live as localhost", "GET", LivePath, "localhost:" + port, 200},
		{"rebound name", "GET", LivePath, "attacker.example:" + port, 403},
		{"rebound name for ready", "GET", ReadyPath, "attacker.example", 403},
		{"address of the endpoint", "GET", LivePath, strings.TrimPrefix(r.base, "http://"), 403},
		{"nothing at the root", "GET", "/", at, 404},
		{"no metrics", "GET", "/metrics", at, 404},
		{"no profiles", "GET", "/debug/pprof/", at, 404},
		{"no MCP", "POST", "/mcp", at, 404},
		{"no metadata", "GET", "/.well-known/oauth-protected-resource", at, 404},
		{"below a probe", "GET", LivePath + "/", at, 404},
		{"escaped", "GET", "/%6civez", at, 404},
		{"POST", "POST", LivePath, at, 405},
		{"OPTIONS of a page", "OPTIONS", ReadyPath, at, 405},
	} {
		g := r.probed(row.method, row.path, row.host)
		if g.status != row.want || g.header.Get("Content-Type") != "application/json" || row.method != "HEAD" && !json.Valid(g.body) {
			t.Errorf("%s: %d %s, want %d", row.name, g.status, g.body, row.want)
		}
		if len(corsHeaders(g.header)) != 0 || g.header.Get("Server") != "" {
			t.Errorf("%s: %v", row.name, g.header)
		}
	}
	for _, path := range []string{LivePath, ReadyPath} {
		if g := r.do(ask{method: http.MethodGet, path: path}); g.status != http.StatusNotFound {
			t.Errorf("%s at the endpoint: %d %s", path, g.status, g.body)
		}
	}
}

// TestProbesWithoutCertificate: the listener for probes is open to whoever keeps
// the process alive, although clients need a certificate.
func TestProbesWithoutCertificate(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t, "clients")
	plain := startTLS(t, setup{upstream: result(""), extra: withProbes}, 1, clients)
	if code, body := plain.probe(ReadyPath); code != http.StatusOK || !strings.HasPrefix(plain.sidecar.ProbeURL(), "http://") {
		t.Errorf("on loopback: %s: %d %s", plain.sidecar.ProbeURL(), code, body)
	}
	r := startTLS(t, setup{upstream: result(""), extra: "diagnostics: { listen: \"0.0.0.0:0\" }\n"}, 1, clients)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(r.sidecar.ProbeURL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: r.ca.pool(), Time: func() time.Time { return testBegin.Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"+port+"\r\nConnection: close\r\n\r\n")
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("elsewhere: %s, %v", answer, err)
	}
}

// TestProbesWhileDraining: the end is announced while calls still finish.
func TestProbesWhileDraining(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	finish := sync.OnceFunc(func() { close(release) })
	r := start(t, setup{inventory: demoInventory, extra: withProbes, upstream: func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(strings.NewReader(string(body)))
		if !isProbe(string(body)) {
			close(arrived)
			<-release
		}
		text("done")(w, req)
	}})
	if code, body := r.probe(ReadyPath); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	t.Cleanup(finish)
	answered := make(chan int, 1)
	go func() {
		resp := r.open(context.Background(), toolCall(modern, r.token("alice"), "1", "update_document", `{"id":1}`))
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if !strings.Contains(string(body), "done") {
			t.Errorf("the call in flight: %d %s", resp.StatusCode, body)
		}
		answered <- resp.StatusCode
	}()
	<-arrived
	r.cancel()
	for {
		code, body := r.probe(ReadyPath)
		if code == http.StatusServiceUnavailable {
			if !strings.Contains(body, `{"name":"serving","ok":false,"why":"is shutting down"}`) {
				t.Errorf("%s", body)
			}
			break
		}
	}
	if code, _ := r.probe(LivePath); code != http.StatusOK {
		t.Errorf("livez while draining: %d", code)
	}
	finish()
	if code := <-answered; code != http.StatusOK {
		t.Errorf("the call in flight: %d", code)
	}
}
