package identity

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// answering answers with what it holds.
type answering struct {
	p   Principal
	err error
}

func (v answering) Authenticate(context.Context, Secret) (Principal, error) { return v.p, v.err }

func TestAudience(t *testing.T) {
	const here, there = "https://sidecar.example/docs/mcp", "https://sidecar.example/fs/mcp"
	long := "https://sidecar.example/" + strings.Repeat("x", 100) + "/mcp"
	down := errors.New("down")
	for _, row := range []struct {
		name  string
		names []string
		next  answering
		want  string // error; empty lets in
	}{
		{"meant for here", []string{here}, answering{p: Principal{Subject: "alice", Audience: []string{here}}}, ""},
		{"meant for here too", []string{here}, answering{p: Principal{Subject: "alice", Audience: []string{there, here}}}, ""},
		{"one of two names", []string{"doc-server", here}, answering{p: Principal{Subject: "alice", Audience: []string{here}}}, ""},
		{"meant for another", []string{here}, answering{p: Principal{Audience: []string{there}}}, `token audience "` + there + `" is not accepted (expected "` + here + `")`},
		{"meant for nobody", []string{here}, answering{}, `token has no audience (expected "` + here + `")`},
		{"no name", nil, answering{p: Principal{Audience: []string{there}}}, `token audience "` + there + `" is not accepted (expected )`},
		{"refused for its audience", []string{here}, answering{err: wrongAudience([]string{"other"}, []string{here, there})}, `token audience "other" is not accepted (expected "` + here + `")`},
		{"refused without audience", []string{here}, answering{err: wrongAudience(nil, []string{here, there})}, `token has no audience (expected "` + here + `")`},
		{"an address is not cut", []string{long}, answering{err: wrongAudience([]string{long}, nil)}, `token audience "` + long[:64] + `" is not accepted (expected "` + long + `")`},
		{"refused", []string{here}, answering{p: Principal{Audience: []string{here}}, err: ErrExpired}, "token expired"},
		{"not asked", []string{here}, answering{p: Principal{Audience: []string{here}}, err: down}, "down"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, err := Audience{Names: row.names, Next: row.next}.Authenticate(t.Context(), NewSecret("t"))
			if row.want == "" {
				if err != nil || p.Subject != "alice" {
					t.Fatalf("%+v, %v", p, err)
				}
				return
			}
			if err == nil || err.Error() != row.want || p.Subject != "" || p.Audience != nil {
				t.Errorf("%+v, %v, want %s", p, err, row.want)
			}
			var refusal *Refusal
			if errors.As(err, &refusal) && refusal.Description == "" {
				t.Error("the challenge says nothing")
			}
		})
	}
}
