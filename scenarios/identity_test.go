package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestBelieving(t *testing.T) {
	server := httptest.NewServer(believing(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v", body, err)
	})))
	t.Cleanup(server.Close)
	create := `{"id":12345678901234567890,"method":"tools/call","params":{"arguments":{"created_by":"alice"}}}`
	for _, row := range []struct {
		name, header, body, want string
	}{
		{"no header", "X-Other", create, create},
		{"a header", "X-Forwarded-User", create, strings.Replace(create, "alice", "bob", 1)},
		{"underscores", "X_Forwarded_User", create, strings.Replace(create, "alice", "bob", 1)},
		{"on behalf of", "x-obo", create, strings.Replace(create, "alice", "bob", 1)},
		{"nothing to sign", "X-Obo", `{ "id": 1 }`, `{ "id": 1 }`},
		{"no JSON", "X-Obo", `created_by`, `created_by`},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(row.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header[row.header] = []string{"bob"}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != row.want+" <nil>" {
				t.Errorf("got %s, %v, want %s", got, err, row.want)
			}
		})
	}
}
