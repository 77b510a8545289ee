package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// TestAdopter: whoever names the same id shares a session behind it, which the
// server itself has named.
func TestAdopter(t *testing.T) {
	server, _ := newServer(t)
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(newAdopter(target))
	t.Cleanup(front.Close)
	say := args{"text": "x", "fail": true}
	for _, row := range []struct {
		name, url, session string
		want               answer
	}{
		{"straight", server, "chosen", answer{rejected, "HTTP 404"}},
		{"adopted", front.URL, "chosen", answer{rejected, "no x"}},
		{"adopted before", front.URL, "chosen", answer{rejected, "no x"}},
		{"adopted beside", front.URL, "another", answer{rejected, "no x"}},
	} {
		if got := (rawClient{url: row.url, token: "own"}).call(t.Context(), row.session, "say", say); got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
		}
	}
}

func TestRawClient(t *testing.T) {
	server, seen := newServer(t)
	c := rawClient{url: server, token: "own"}
	session, err := c.open(t.Context(), "")
	if err != nil || session == "" {
		t.Fatalf("session %q, %v", session, err)
	}
	if got := c.call(t.Context(), session, "say", args{"text": "x", "fail": false}); got != (answer{allowed, "said\nx\n(*mcp.ImageContent)"}) {
		t.Errorf("got %+v", got)
	}
	for _, bearer := range seen.take() {
		if bearer != "Bearer own" {
			t.Errorf("sent %q", bearer)
		}
	}
	if _, err := (rawClient{url: server}).do(t.Context(), http.MethodDelete, session, ""); err != nil {
		t.Error(err)
	}
	if got := seen.take(); len(got) != 1 || got[0] != "" {
		t.Errorf("without a token: sent %q", got)
	}
	if got := c.call(t.Context(), session, "say", args{}); got != (answer{rejected, "HTTP 404"}) {
		t.Errorf("after the session's end: %+v", got)
	}
	if _, err := (rawClient{url: server, token: "bad"}).open(t.Context(), ""); err == nil {
		t.Error("opened a session with a refused token")
	}
}

func TestRawAnswer(t *testing.T) {
	for _, row := range []struct {
		name    string
		status  int
		message string
		want    answer
	}{
		{"no message", 404, "", answer{rejected, "HTTP 404"}},
		{"no message, and well", 204, "", answer{allowed, "HTTP 204"}},
		{"plain text", 404, "session not found\n", answer{rejected, "HTTP 404"}},
		{"error", 401, `{"error":{"code":40100,"message":"no"}}`, answer{rejected, "no"}},
		{"tool error", 200, `{"result":{"isError":true,"content":[{"type":"text","text":"no"}]}}`, answer{rejected, "no"}},
		{"result", 200, `{"result":{"content":[{"type":"text","text":"yes"}]}}`, answer{allowed, "yes"}},
		{"something else", 200, `{"method":"ping"}`, answer{failed, "HTTP 200 and no message"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := (rawAnswer{status: row.status, message: []byte(row.message)}).answer(); got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}
