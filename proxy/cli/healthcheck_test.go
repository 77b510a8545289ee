package cli

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answering starts a listener that answers probes in the way of h.
func answering(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

const notReady = `{"ready":false,"checks":[{"name":"policy","ok":true},{"name":"upstream docs","ok":false,"why":"has not answered yet"},{"name":"serving","ok":false,"why":"is shutting down"}]}`

// TestHealthcheck: what a container's runtime reads, by exit code and by text.
func TestHealthcheck(t *testing.T) {
	paths := map[string]http.HandlerFunc{"/readyz": says(503, notReady), "/livez": says(200, `{"live":true}`)}
	half := answering(t, func(w http.ResponseWriter, r *http.Request) { paths[r.URL.Path](w, r) })
	closed := httptest.NewServer(nil)
	closed.Close()
	moved := answering(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, half+"/livez", http.StatusFound) })
	broken := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "{")
	})
	odd := answering(t, says(503, `{"checks":[{"name":"\u001b[2J","why":"\nx"}]}`))
	for _, row := range []struct {
		name string
		args []string
		code int
		out  string
		says string
	}{
		{"ready", []string{"--url", answering(t, says(200, `{"ready":true}`))}, ExitOK, "ok\n", ""},
		{"ready, with a slash", []string{"--url", answering(t, says(200, "")) + "/"}, ExitOK, "ok\n", ""},
		{"not ready", []string{"--url", half}, ExitDown, "", "not ready: upstream docs has not answered yet; serving is shutting down"},
		{"live", []string{"--url", half, "--live"}, ExitOK, "ok\n", ""},
		{"something else", []string{"--url", answering(t, says(404, "<html>"))}, ExitDown, "", "/readyz answered 404"},
		{"redirect", []string{"--url", moved}, ExitDown, "", "answered 302"},
		{"nobody there", []string{"--url", closed.URL}, ExitDown, "", "connection refused"},
		{"cut answer", []string{"--url", broken}, ExitDown, "", "unexpected EOF"},
		{"control characters", []string{"--url", odd}, ExitDown, "", "not ready: \uFFFD[2J \uFFFDx"},

		{"not a URL", []string{"--url", "127.0.0.1:9464"}, ExitUsage, "", "--url must be such as"},
		{"another scheme", []string{"--url", "ftp://127.0.0.1"}, ExitUsage, "", "--url must be such as"},
		{"with a password", []string{"--url", "http://a:b@127.0.0.1"}, ExitUsage, "", "--url must be such as"},
		{"with a path", []string{"--url", half + "/livez"}, ExitUsage, "", "must end after the host and port"},
		{"plain text elsewhere", []string{"--url", "http://192.0.2.1:9464"}, ExitUsage, "", "http is for loopback only"},
		{"two places", []string{"--url", half, "-c", "x"}, ExitUsage, "", "[url config]"},
		{"an argument", []string{"x"}, ExitUsage, "", "x"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := run(t, append([]string{"healthcheck"}, row.args...)...)
			if r.code != row.code || r.out != row.out || !strings.Contains(r.stderr, row.says) || (row.says == "") != (r.stderr == "") {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d, %q, %q", r.code, r.out, r.stderr, row.code, row.out, row.says)
			}
		})
	}
	r := run(t, "healthcheck", "--url", half, "--json")
	var h health
	d := json.NewDecoder(strings.NewReader(r.out))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil || r.code != ExitDown || h.OK || h.Status != 503 || h.Version != 1 || len(h.Missing) != 2 || h.URL != half+"/readyz" {
		t.Errorf("%v: %+v", err, r)
	}
	if r = run(t, "healthcheck", "--url", half, "--live", "--json"); r.code != ExitOK || r.out != `{"version":1,"url":"`+half+`/livez","ok":true,"status":200}`+"\n" {
		t.Errorf("%+v", r)
	}
}

// TestHealthcheckSilence: a probe ends although nobody answers.
func TestHealthcheckSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if h := ask(t.Context(), "http://"+l.Addr().String()+"/readyz", nil, 20*time.Millisecond); h.OK || h.Status != 0 || !strings.Contains(h.Error, "deadline exceeded") {
		t.Errorf("%+v", h)
	}
}

// freePort is a port that nothing listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// TestHealthcheckFindsTheAddress: a file is enough, whether or not the rest of it
// could start a sidecar.
func TestHealthcheckFindsTheAddress(t *testing.T) {
	upstream := answering(t, says(404, ""))
	port := freePort(t)
	base := "version: 1\nlisten: 127.0.0.1:0\nupstreams: { docs: { url: \"" + upstream + "\" } }\n"
	dir := files(t, map[string]string{
		"on.yaml":    base + "diagnostics: { listen: \"127.0.0.1:" + port + "\" }\n",
		"every.yaml": base + "diagnostics: { listen: \":" + port + "\" }\n",
		"off.yaml":   base, "free.yaml": base + "diagnostics: { listen: \"127.0.0.1:0\" }\n",
		"bad.yaml": base + "diagnostics: { listen: nowhere }\n", "typo.yaml": base + "diagnosis: {}\n",
		"tls.yaml": base + "diagnostics: { listen: \":" + port + "\" }\ntls: { cert_file: missing.crt, key_file: missing.key }\n",
	})
	for file, want := range map[string]struct {
		code int
		says string
	}{
		"on.yaml": {ExitDown, "127.0.0.1:" + port}, "every.yaml": {ExitDown, "127.0.0.1:" + port},
		"off.yaml": {ExitConfig, "add diagnostics: {}"}, "free.yaml": {ExitConfig, "any free port"},
		"bad.yaml": {ExitConfig, "bad.yaml:4:24"}, "typo.yaml": {ExitConfig, "typo.yaml:4:1"},
		"tls.yaml": {ExitConfig, "missing.crt"}, "missing.yaml": {ExitConfig, "missing.yaml"},
	} {
		if r := run(t, "healthcheck", "-c", filepath.Join(dir, file)); r.code != want.code || !strings.Contains(r.stderr, want.says) {
			t.Errorf("%s: %+v, want %d with %q", file, r, want.code, want.says)
		}
	}
	t.Setenv("SIDECAR_STATE_DIR", t.TempDir())
	t.Setenv("SIDECAR_CONFIG", filepath.Join(dir, "on.yaml"))
	s := startServe(t, "--insecure-no-auth")
	for _, args := range [][]string{{"-c", filepath.Join(dir, "on.yaml")}, {"-c", filepath.Join(dir, "every.yaml")}, nil, {"--live"}, {"--url", "http://localhost:" + port}} {
		if r := run(t, append([]string{"healthcheck"}, args...)...); r.code != ExitOK || r.out != "ok\n" {
			t.Errorf("%q: %+v", args, r)
		}
	}
	s.stop()
	if code := <-s.code; code != ExitOK || !bytes.Contains(s.stderr.Bytes(), []byte("127.0.0.1:"+port+"/livez")) {
		t.Errorf("exit code %d:\n%s", code, s.stderr)
	}
}

// TestReachable: where one asks who listens everywhere.
func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:1": "127.0.0.1:1", "localhost:1": "localhost:1", ":1": "127.0.0.1:1", "0.0.0.0:1": "127.0.0.1:1",
		"[::]:1": "[::1]:1", "[::1]:1": "[::1]:1", "10.0.0.5:1": "10.0.0.5:1", "127.0.0.1:0": "", "x": "",
	} {
		if got, err := reachable(listen); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", listen, got, err, want)
		}
	}
}

// TestOnlyCertificate: the certificate itself is enough, and no other is.
func TestOnlyCertificate(t *testing.T) {
	s := httptest.NewTLSServer(says(200, ""))
	defer s.Close()
	own := files(t, map[string]string{"c": pemOf(s.Certificate().Raw), "none": "x", "other": pemOf([]byte("other"))})
	trust, err := onlyCertificate(filepath.Join(own, "c"))
	if err != nil {
		t.Fatal(err)
	}
	if h := ask(t.Context(), s.URL+"/readyz", trust, healthTime); !h.OK {
		t.Errorf("%+v", h)
	}
	if trust, err = onlyCertificate(filepath.Join(own, "other")); err != nil {
		t.Fatal(err)
	}
	if h := ask(t.Context(), s.URL+"/readyz", trust, healthTime); h.OK || !strings.Contains(h.Error, "not the one in tls.cert_file") {
		t.Errorf("%+v", h)
	}
	if h := ask(t.Context(), s.URL+"/readyz", nil, healthTime); h.OK {
		t.Errorf("a certificate that nobody knows: %+v", h)
	}
	for _, name := range []string{"none", "missing"} {
		if _, err := onlyCertificate(filepath.Join(own, name)); err == nil {
			t.Errorf("%s is taken for a certificate", name)
		}
	}
}

func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
