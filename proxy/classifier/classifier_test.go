package classifier

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/proxy/identity"
)

const asked = "the-text-that-was-asked-about" // one word, or net/http would repeat the second only

// serve runs a real server and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return client(t, s.URL+"/v1/classify", "")
}

func client(t *testing.T, url, token string) *Client {
	t.Helper()
	c, err := New(url, identity.NewSecret(token))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func says(status int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestAsk(t *testing.T) {
	pad := func(n int) string {
		return `{"flagged":true,"note":"` + strings.Repeat("x", n-len(`{"flagged":true,"note":""}`)) + `"}`
	}
	const ok = "application/json"
	for _, row := range []struct {
		name, media, body string
		status            int
		want              Verdict
		err               error
	}{
		{name: "flagged", body: `{"flagged":true,"score":0.97}`, want: Verdict{true, 0.97}},
		{name: "not flagged", body: `{"flagged":false,"score":0.03}`, want: Verdict{false, 0.03}},
		{name: "without score", body: `{"flagged":true}`, want: Verdict{true, 1}},
		{name: "not flagged, without score", body: `{"flagged":false}`, want: Verdict{false, 0}},
		{name: "further members, another charset", media: "application/json; charset=utf-8", body: `{"flagged":true,"score":1,"model":"m"}`, want: Verdict{true, 1}},
		{name: "as long as may be", body: pad(maxAnswer), want: Verdict{true, 1}},
		{name: "one byte too long", body: pad(maxAnswer + 1), err: ErrLong},
		{name: "no verdict", body: `{"score":0.1}`, err: ErrForm},
		{name: "verdict in another case", body: `{"Flagged":false}`, err: ErrForm},
		{name: "two verdicts", body: `{"flagged":true,"flagged":false}`, err: ErrForm},
		{name: "verdict as text", body: `{"flagged":"false"}`, err: ErrForm},
		{name: "verdict is null", body: `{"flagged":null}`, err: ErrForm},
		{name: "score above one", body: `{"flagged":false,"score":1.1}`, err: ErrForm},
		{name: "score below zero", body: `{"flagged":false,"score":-0.1}`, err: ErrForm},
		{name: "list", body: `[false]`, err: ErrForm},
		{name: "two values", body: `{"flagged":false}{"flagged":true}`, err: ErrForm},
		{name: "no JSON", body: "false " + asked, err: ErrForm},
		{name: "nothing", err: ErrForm},
		{name: "another media type", media: "text/html", body: `{"flagged":false}`, err: ErrForm},
		{name: "another success", status: http.StatusCreated, body: `{"flagged":false}`},
		{name: "error", status: http.StatusInternalServerError, body: `{"flagged":false}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.media == "" {
				row.media = ok
			}
			bad := row.err != nil || row.status != 0
			if row.status == 0 {
				row.status = http.StatusOK
			}
			got, err := serve(t, says(row.status, row.media, row.body)).Ask(t.Context(), Question{Text: asked})
			if got != row.want || (err != nil) != bad || row.err != nil && !errors.Is(err, row.err) {
				t.Errorf("%+v, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), asked) {
				t.Errorf("the error repeats the text: %v", err)
			}
		})
	}
}

// The question has the documented form, and the token where there is one.
func TestQuestion(t *testing.T) {
	var method, path, token, media string
	var body map[string]any
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method, path, token, media = r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type")
		body = nil
		_ = json.NewDecoder(r.Body).Decode(&body)
		says(http.StatusOK, "application/json", `{"flagged":false}`)(w, r)
	}))
	defer s.Close()
	for given, want := range map[string]string{"": "", "s3cret": "Bearer s3cret"} {
		if _, err := client(t, s.URL+"/v1/classify", given).Ask(t.Context(), Question{asked, "description", 0.5}); err != nil {
			t.Fatal(err)
		}
		if method != http.MethodPost || path != "/v1/classify" || token != want || media != "application/json" ||
			len(body) != 3 || body["text"] != asked || body["kind"] != "description" || body["score"] != 0.5 {
			t.Errorf("%s %s %q %s %v", method, path, token, media, body)
		}
	}
	method = ""
	if _, err := client(t, s.URL, "").Ask(t.Context(), Question{Text: strings.Repeat("x", MaxText+1)}); err == nil || method != "" {
		t.Errorf("a text that is too long was sent: %v", err)
	}
}

// A redirect would carry the text to whoever the service names.
func TestRedirectIsRefused(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed: %s %s", r.Method, r.URL)
	}))
	defer elsewhere.Close()
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) })
		if v, err := c.Ask(t.Context(), Question{Text: asked}); err == nil {
			t.Errorf("%d: %+v", status, v)
		}
	}
}

// Plain HTTP is for this machine only.
func TestAddresses(t *testing.T) {
	for _, url := range []string{"http://127.0.0.1:1/", "https://classifier.example/"} {
		if _, err := New(url, identity.Secret{}); err != nil {
			t.Error(err)
		}
	}
	for _, url := range []string{"", "http://classifier.example/", "http://10.0.0.5/", "http://127.0.0.1.example/", "ftp://127.0.0.1/", "https://user@classifier.example/", "http://0.0.0.0/"} {
		if _, err := New(url, identity.Secret{}); err == nil {
			t.Errorf("%q is accepted", url)
		}
	}
}

// A service that says nothing, one that ends in the middle, and one that does not speak HTTP.
func TestNoAnswer(t *testing.T) {
	gone := make(chan struct{})
	silent := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // then the server notices that the client goes
		<-r.Context().Done()
		close(gone)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if v, err := serve(t, silent).Ask(ctx, Question{Text: asked}); !errors.Is(err, ErrTime) {
		t.Errorf("silent: %+v, %v", v, err)
	}
	<-gone

	half := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"flagged":false}`)
	}
	if v, err := serve(t, half).Ask(t.Context(), Question{Text: asked}); !errors.Is(err, ErrForm) {
		t.Errorf("half: %+v, %v", v, err)
	}

	other := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, asked+"\r\n\r\n") // net/http repeats it in its error
		_ = conn.Close()
	}
	if v, err := serve(t, other).Ask(t.Context(), Question{Text: asked}); !errors.Is(err, ErrSilent) || strings.Contains(err.Error(), asked) {
		t.Errorf("no HTTP: %+v, %v", v, err)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if v, err := client(t, "http://"+l.Addr().String(), "").Ask(t.Context(), Question{Text: asked}); !errors.Is(err, ErrSilent) {
		t.Errorf("nobody there: %+v, %v", v, err)
	}
}
