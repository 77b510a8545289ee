package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// fetch asks a running issuer and returns the status, or 0 without an answer.
func fetch(ctx context.Context, t *testing.T, url string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestFaults(t *testing.T) {
	i := atNoon()
	server := httptest.NewServer(i.Handler())
	t.Cleanup(server.Close)
	keys, doc := server.URL+keysPath, server.URL+oauthMetadata
	for _, row := range []struct {
		fault    Fault
		endpoint Endpoint
		url      string
		status   int
		json     bool
		atLeast  int // bytes
	}{
		{Down, EndpointKeys, keys, 0, false, 0},
		{Failing, EndpointKeys, keys, 500, true, 0},
		{Garbage, EndpointKeys, keys, 200, false, 0},
		{Huge, EndpointKeys, keys, 200, true, 1 << 20},
		{Elsewhere, EndpointKeys, keys, 307, false, 0},
		{Down, EndpointMetadata, doc, 0, false, 0},
		{WrongIssuer, EndpointMetadata, doc, 200, true, 0},
	} {
		i.Break(row.endpoint, row.fault)
		status, body := fetch(t.Context(), t, row.url)
		if status != row.status || json.Valid(body) != row.json || len(body) < row.atLeast {
			t.Errorf("%s: status %d, %d bytes", row.fault, status, len(body))
		}
		if row.fault == WrongIssuer && !strings.Contains(string(body), `"issuer":"https://another-issuer.example"`) {
			t.Errorf("%s: %s", row.fault, body)
		}
		i.Repair(row.endpoint)
		if status, body := fetch(t.Context(), t, row.url); status != http.StatusOK || strings.Contains(string(body), "another-issuer") {
			t.Errorf("%s: after repair %d %s", row.fault, status, body)
		}
	}
	if c := i.Counters(); c.Keys < 10 || c.Metadata < 4 {
		t.Errorf("counters %+v", c)
	}
}

// A slow endpoint answers nobody until it is repaired, and lets go who gives up.
func TestSlow(t *testing.T) {
	i := atNoon()
	waiting := make(chan struct{}, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		waiting <- struct{}{}
		i.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	i.Break(EndpointKeys, Slow)

	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan int)
	go func() { status, _ := fetch(ctx, t, server.URL+keysPath); done <- status }()
	<-waiting
	cancel(errors.New("gives up"))
	if status := <-done; status != 0 {
		t.Errorf("a slow endpoint answered %d", status)
	}
	go func() { status, _ := fetch(t.Context(), t, server.URL+keysPath); done <- status }()
	<-waiting
	i.Repair(EndpointKeys)
	if status := <-done; status != http.StatusOK {
		t.Errorf("after repair %d", status)
	}
}

// A stale key set shows neither new keys nor that old ones are gone.
func TestStale(t *testing.T) {
	i := atNoon()
	first := i.KeyIDs()
	i.Break(EndpointKeys, Stale)
	second := i.Rotate(ES256)
	i.Retire(first[0])
	if got := i.KeyIDs(); !slices.Equal(got, first) {
		t.Errorf("a stale key set shows %q, want %q", got, first)
	}
	if _, _, err := verified(t, i, i.MintJWT(Claims{Expiry: noon.Add(1)})); err == nil {
		t.Error("the new key is published")
	}
	i.Repair(EndpointKeys)
	if got := i.KeyIDs(); !slices.Equal(got, []string{second}) {
		t.Errorf("after repair %q, want %q", got, second)
	}
}
