package canary

import (
	"slices"
	"sync/atomic"
	"testing"
)

type open struct {
	Text  string
	bytes []byte
	table map[string]int
	any   any
	next  *open
	at    atomic.Pointer[[]string]
}

type hiding struct{ value string }

func (h hiding) Reveal() string { return h.value }

// A secret is found wherever it is held in plain, and nowhere else.
func TestHeld(t *testing.T) {
	const secret = "held7of9secret"
	texts := []string{"other " + secret}
	for name, row := range map[string]struct {
		make  func() *open
		where []string
	}{
		"text":               {func() *open { return &open{Text: "x" + secret} }, []string{"canary.open.Text"}},
		"in Base64":          {func() *open { return &open{Text: "eGhlbGQ3b2Y5c2VjcmV0"} }, []string{"canary.open.Text"}},
		"bytes":              {func() *open { return &open{bytes: []byte(secret)} }, []string{"canary.open.bytes"}},
		"key":                {func() *open { return &open{table: map[string]int{secret: 1}} }, []string{"canary.open.table"}},
		"interface":          {func() *open { return &open{any: []any{struct{ x string }{secret}}} }, []string{"struct { x string }.x"}},
		"behind a pointer":   {func() *open { return &open{next: &open{bytes: []byte(secret)}} }, []string{"canary.open.bytes"}},
		"in an atomic":       {func() *open { o := &open{}; o.at.Store(&texts); return o }, []string{"*[]string"}},
		"hidden":             {func() *open { return &open{any: hiding{secret}} }, nil},
		"something else":     {func() *open { return &open{Text: "held", bytes: []byte("of9secret")} }, nil},
		"a ring":             {func() *open { o := &open{Text: secret}; o.next = o; return o }, []string{"canary.open.Text"}},
		"where it is known":  {func() *open { return &open{table: map[string]int{secret: 1}} }, []string{"canary.open.table"}},
		"nothing to look at": {func() *open { return &open{} }, nil},
	} {
		o := row.make()
		if got := Held(o, []string{secret}); !slices.Equal(got, row.where) {
			t.Errorf("%s: %q", name, got)
		}
		if got := Held(o, []string{secret}, row.where...); name == "where it is known" && got != nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Whatever form a secret is printed in is recognised.
func TestShows(t *testing.T) {
	const secret = "shown7of9secret"
	for name, v := range map[string]any{"text": secret, "bytes": []byte(secret), "in a struct": struct{ b []byte }{[]byte(secret)}, "in a pointer": &struct{ S string }{secret}} {
		if text := Print(v); !slices.Equal(Shows(text, "not there", secret), []string{secret}) {
			t.Errorf("%s:\n%s", name, text)
		}
	}
	for name, text := range map[string]string{"decimal": "[115 104 111 119 110 55 111 102 57 115 101 99 114 101 116]", "hexadecimal": "0x73686F776E376F6639736563726574"} {
		if len(Shows(text, secret)) != 1 {
			t.Errorf("%s: not recognised", name)
		}
	}
}
