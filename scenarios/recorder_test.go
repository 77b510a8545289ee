package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func newRecorder(t *testing.T, h http.HandlerFunc) *recorder {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	target, err := url.Parse(server.URL + "/mcp")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := listen(t.Context(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	r := startRecorder(ln, target, forward(target))
	t.Cleanup(r.close)
	return r
}

func post(t *testing.T, target, body, authorization string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRecorderPassesAndKeeps(t *testing.T) {
	r := newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		fmt.Fprintf(w, "%s %s %s %s", req.URL.Path, req.Host, req.Header.Get("Authorization"), body)
	})
	if got := post(t, r.url, "first", "Bearer a"); !strings.HasPrefix(got, "/mcp 127.0.0.1:") || !strings.HasSuffix(got, " Bearer a first") {
		t.Errorf("the server saw %q", got)
	}
	mark := r.mark()
	call := `{"method":"tools/call","params":{"name":"read_document"}}`
	post(t, r.url, call, "Bearer b")
	kept := r.since(mark)
	if len(kept) != 1 || string(kept[0].body) != call || kept[0].header.Get("Authorization") != "Bearer b" {
		t.Fatalf("kept %+v", kept)
	}
	if !kept[0].calls("read_document") || kept[0].calls("delete_document") {
		t.Error("the called tool was not recognised")
	}
}

func TestRecorderStreams(t *testing.T) {
	release := make(chan struct{})
	r := newRecorder(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: one\n\n")
		w.(http.Flusher).Flush()
		<-release // the second event exists only after the first was read
		fmt.Fprint(w, "data: two\n\n")
	})
	client := &http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(r.url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || lines.Text() != "data: one" {
		t.Fatalf("read %q, %v", lines.Text(), lines.Err())
	}
	close(release)
	for lines.Scan() && lines.Text() == "" {
	}
	if lines.Text() != "data: two" {
		t.Errorf("read %q, %v", lines.Text(), lines.Err())
	}
}

func TestRecordedHolds(t *testing.T) {
	const token = "GE3TQMRXGAYTCMRSGAZDENJSGE"
	encode := func(before, after string) string {
		return base64.StdEncoding.EncodeToString([]byte(before + token + after))
	}
	for _, row := range []struct {
		name string
		r    recorded
		want bool
	}{
		{"nothing", recorded{header: http.Header{"Authorization": {"Bearer other"}}, body: []byte("{}")}, false},
		{"header", recorded{header: http.Header{"X-Obo": {"Bearer " + token}}}, true},
		{"body", recorded{body: []byte(`{"_meta":{"token":"` + token + `"}}`)}, true},
		{"query", recorded{url: "/mcp?access_token=" + token}, true},
		{"base64", recorded{body: []byte(encode("", ""))}, true},
		{"base64 behind one byte", recorded{body: []byte(encode("a", ""))}, true},
		{"base64 behind two bytes", recorded{body: []byte(encode("ab", "cd"))}, true},
		{"base64 for URLs", recorded{body: []byte(base64.URLEncoding.EncodeToString([]byte("~>" + token)))}, true},
		{"a part of it", recorded{body: []byte(token[3:20])}, true},
		{"HTTP Basic", recorded{header: http.Header{"Authorization": {"Basic " + encode("user:", "")}}}, true},
		{"base64 of something else", recorded{body: []byte(base64.StdEncoding.EncodeToString([]byte("GE3TQMRX")))}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := row.r.holds(token); got != row.want {
				t.Errorf("holds = %v, want %v", got, row.want)
			}
		})
	}
}
