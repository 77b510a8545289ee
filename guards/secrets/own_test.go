package secrets

import (
	"strings"
	"testing"

	"mcp-sidecar/guards"
)

// The program's own credentials are found as they are, by both guards, among
// other secrets and inside them.
func TestOwn(t *testing.T) {
	own := []string{"the-service-credential", "short", "", "zK4vT9qLm2"}
	for _, row := range []struct{ name, text, want string }{
		{"alone", "the-service-credential", "[REDACTED:credential]"},
		{"in a sentence", "shown zK4vT9qLm2, twice: zK4vT9qLm2.", "shown [REDACTED:credential], twice: [REDACTED:credential]."},
		{"inside a word", "xthe-service-credentialx", "x[REDACTED:credential]x"},
		{"side by side", "the-service-credentialzK4vT9qLm2", "[REDACTED:credential][REDACTED:credential]"},
		{"twice in a row", "zK4vT9qLm2zK4vT9qLm2", "[REDACTED:credential][REDACTED:credential]"},
		{"too short to be told from a word", "a short text", "a short text"},
		{"another case", "THE-SERVICE-CREDENTIAL", "THE-SERVICE-CREDENTIAL"},
		{"none", "nothing here", "nothing here"},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := guards.Text{Value: row.text, Own: own}
			for _, g := range []guards.Output{New(), OwnGuard{}} {
				if got := g.Change(text, g.Find(text)); got != row.want {
					t.Errorf("%s: %q, want %q", g.Name(), got, row.want)
				}
			}
			if got, _ := Redact(row.text, own...); got != row.want {
				t.Errorf("%q, want %q", got, row.want)
			}
		})
	}
	mixed := guards.Text{Value: "token=the-service-credential and " + awsID, Own: own}
	if got := New().Change(mixed, New().Find(mixed)); got != "token=[REDACTED:credential] and [REDACTED:aws_access_key]" {
		t.Errorf("among others: %q", got)
	}
	if got := (OwnGuard{}).Change(mixed, OwnGuard{}.Find(mixed)); got != "token=[REDACTED:credential] and "+awsID {
		t.Errorf("the guard for own credentials alone: %q", got)
	}
	for _, f := range (OwnGuard{}).Find(mixed) {
		if f.Label != "secret:redacted credential" || f.Rule != "credential" {
			t.Errorf("%+v", f)
		}
	}
	if n := testing.AllocsPerRun(100, func() { OwnGuard{}.Find(guards.Text{Value: "nothing here", Own: own}) }); n != 0 {
		t.Errorf("%v allocations where there is nothing", n)
	}
}

// FuzzOwn: no credential of the program's own survives, whatever it is and
// whatever stands around it, and the text stays as long as it was but for marks.
func FuzzOwn(f *testing.F) {
	f.Add("a ", "the-service-credential", " b")
	f.Add("token=\"", "zK4vT9qLm2", "\"://a:b@c")
	f.Add("-----BEGIN PRIVATE KEY-----", "aaaaaaaa", "a-----END PRIVATE KEY-----")
	f.Add("[REDACTED:", "REDACTED", "]")
	f.Add(strings.Repeat("Q", 100), "aaaaaQaaaa", strings.Repeat("Q", 100))
	f.Fuzz(func(t *testing.T, before, own, after string) {
		if len(own) < ShortestOwn || strings.Contains("[REDACTED:credential]", own) {
			return
		}
		text := guards.Text{Value: before + own + after, Own: []string{own}}
		for from := range len(text.Value) + 1 {
			want := strings.Index(text.Value[from:], own)
			if want >= 0 {
				want += from
			}
			if got := indexOf(text.Value, own, rarest(own), from); got != want {
				t.Fatalf("%q stands at %d of %q from %d, found at %d", own, want, text.Value, from, got)
			}
		}
		found := OwnGuard{}.Find(text)
		if len(found) == 0 {
			t.Fatalf("%q was not found in %q", own, text.Value)
		}
		end := 0
		for _, f := range found {
			if f.Start < end || f.End <= f.Start || f.End > len(text.Value) {
				t.Fatalf("findings out of order or range: %+v", found)
			}
			if text.Value[f.Start:f.End] != own {
				t.Fatalf("%q was taken for %q", text.Value[f.Start:f.End], own)
			}
			end = f.End
		}
		if both := New().Find(text); len(both) == 0 {
			t.Fatalf("the guard for all secrets did not find %q", own)
		}
	})
}
