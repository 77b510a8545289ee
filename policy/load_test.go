package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLoadRefuses(t *testing.T) {
	for _, row := range []struct {
		name string
		text string
		want string // the whole error
	}{
		{"unknown row type", "p2, role:a, x, y", `policy.csv:1: unknown row type "p2" (p, g or g2)`},
		{"upper-case row type", "P, role:a, x, y", `policy.csv:1: unknown row type "P" (p, g or g2)`},
		{"byte order mark", "\ufeffp, role:a, x, y", `policy.csv:1: unknown row type "\ufeffp" (p, g or g2)`},
		{"row type alone", "g", `policy.csv:1: row type g takes member, role; this row has 0 columns behind the type`},
		{"too few columns", "p, role:a, x", `policy.csv:1: row type p takes subject, object, action and optionally the effect; this row has 2 columns behind the type`},
		{"too many columns", "p, role:a, x, y, allow, z", `policy.csv:1: row type p takes subject, object, action and optionally the effect; this row has 5 columns behind the type`},
		{"domain column", "g, user:a, role:a, tenant", `policy.csv:1: row type g takes member, role; this row has 3 columns behind the type`},
		{"subject without a prefix", "p, admin, x, y", `policy.csv:1: subject "admin" must be user:NAME or role:NAME`},
		{"subject of a prefix alone", "p, role:, x, y", `policy.csv:1: subject "role:" must be user:NAME or role:NAME`},
		{"subject with a star", "p, user:*, x, y", `policy.csv:1: subject "user:*" must not contain *`},
		{"member without a prefix", "g, alice, role:a", `policy.csv:1: subject "alice" must be user:NAME or role:NAME`},
		{"user handed out like a role", "g, user:a, user:b", `policy.csv:1: role "user:b" must be role:NAME`},
		{"role with a star", "g, user:a, role:*", `policy.csv:1: role "role:*" must not contain *`},
		{"effect in capitals", "p, role:a, x, y, Deny", `policy.csv:1: effect "Deny" must be allow or deny`},
		{"effect with a comment", "p, role:a, x, y, deny # never", `policy.csv:1: character ' ' in "deny # never" (allowed: letters, digits and _.:/@*-)`},
		{"empty effect", "p, role:a, x, y,", `policy.csv:1: empty column`},
		{"empty object", "p, role:a, , y", `policy.csv:1: empty column`},
		{"blank inside", "p, role:a, my doc, y", `policy.csv:1: character ' ' in "my doc" (allowed: letters, digits and _.:/@*-)`},
		{"comma inside", `p, role:a, "x,y", z`, `policy.csv:1: character ',' in "x,y" (allowed: letters, digits and _.:/@*-)`},
		{"letter outside ASCII", "p, role:é, x, y", `policy.csv:1: character 'é' in "role:é" (allowed: letters, digits and _.:/@*-)`},
		{"invalid UTF-8", "p, role:\xff, x, y", `policy.csv:1: character '�' in "role:\xff" (allowed: letters, digits and _.:/@*-)`},
		{"suffix behind a star", "p, role:a, srv/*_read, call", `policy.csv:1: object pattern "srv/*_read" is not supported (only server/* and *)`},
		{"prefix before a star", "p, role:a, srv/read_*, call", `policy.csv:1: object pattern "srv/read_*" is not supported (only server/* and *)`},
		{"star in the server", "p, role:a, s*/*, call", `policy.csv:1: object pattern "s*/*" is not supported (only server/* and *)`},
		{"two levels before a star", "p, role:a, srv/sub/*, call", `policy.csv:1: object pattern "srv/sub/*" is not supported (only server/* and *)`},
		{"no server before a star", "p, role:a, /*, call", `policy.csv:1: object pattern "/*" is not supported (only server/* and *)`},
		{"two stars", "p, role:a, **, call", `policy.csv:1: object pattern "**" is not supported (only server/* and *)`},
		{"action with a partial wildcard", "p, role:a, x, read*", `policy.csv:1: action "read*" must not contain *`},
		{"group of a pattern", "g2, docs/*, readers", `policy.csv:1: object "docs/*" must not contain *`},
		{"group with a star", "g2, docs/a, *", `policy.csv:1: object group "*" must not contain *`},
		{"group named like a tool", "g2, docs/a, docs/b", `policy.csv:1: object group "docs/b" must not contain a slash, a tool could take its name`},
		{"quote inside", `p, role:a, x"y, z`, `policy.csv:1: bare " in non-quoted-field`},
		{"quote left open", "p, role:a, x, y\ng, \"user:a, role:a\ng, user:b, role:a", `policy.csv:2: extraneous or missing " in quoted-field`},
		{"line number behind comments and blanks", "# one\n\n  \t\n\r\nx, y", `policy.csv:5: unknown row type "x" (p, g or g2)`},
		{"long foreign text is cut", strings.Repeat("x", 100) + ", y", `policy.csv:1: unknown row type "` + strings.Repeat("x", 63) + `…" (p, g or g2)`},
	} {
		t.Run(row.name, func(t *testing.T) {
			e, err := Load(strings.NewReader(row.text), "policy.csv", nil)
			if err == nil || err.Error() != row.want {
				t.Errorf("error\n %v\nwant\n %s", err, row.want)
			}
			if e != nil {
				t.Error("a refused policy gave an engine")
			}
		})
	}
}

func TestLoadReportsEveryProblem(t *testing.T) {
	text := "p, admin, srv/*x, re*d, Deny\n# fine\np, role:a, document, read\nq, 1\ng, \"bad\"quote\ng2, a, b\ng, user:a\n"
	_, err := Load(strings.NewReader(text), "dir/p.csv", map[string][]string{"bob": {"editor", "role:x"}, "user:a": {"role:a"}})
	var got Problems
	if !errors.As(err, &got) {
		t.Fatalf("error %v, want Problems", err)
	}
	var lines []string
	for _, p := range got {
		lines = append(lines, fmt.Sprintf("%s|%d", p.File, p.Line))
	}
	want := []string{"dir/p.csv|1", "dir/p.csv|1", "dir/p.csv|1", "dir/p.csv|1", "dir/p.csv|4", "dir/p.csv|5", "dir/p.csv|7", "auth.roles|0", "auth.roles|0", "auth.roles|0"}
	if !slices.Equal(lines, want) {
		t.Errorf("problems\n%v\nat %q, want %q", err, lines, want)
	}
	if last := got[len(got)-1].String(); last != `auth.roles: subject "bob" must be user:NAME or role:NAME` {
		t.Errorf("last problem %q", last)
	}
}

func TestLoadAccepts(t *testing.T) {
	for _, row := range []struct {
		name string
		text string
	}{
		{"plain", "p,role:a,document,read,allow\ng,user:x,role:a"},
		{"blanks around columns", "p ,\trole:a ,  document , read\t\ng, user:x, role:a  "},
		{"carriage returns", "p, role:a, document, read\r\ng, user:x, role:a\r\n"},
		{"quoted columns", `p, "role:a", "document", read` + "\n" + `"g", user:x, role:a`},
		{"rows that occur twice", "p, role:a, document, read\np, role:a, document, read, allow\ng, user:x, role:a\ng, user:x, role:a"},
		{"role cycle", "p, role:b, document, read\ng, user:x, role:a\ng, role:a, role:b\ng, role:b, role:a"},
		{"group cycle", "p, role:a, g1, read\ng, user:x, role:a\ng2, document, g1\ng2, g1, g2\ng2, g2, g1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := load(t, row.text)
			if !e.Decide("user:x", Permission{"document", "read"}).Allowed {
				t.Error("user:x may not read")
			}
			if e.Decide("user:y", Permission{"document", "read"}).Allowed {
				t.Error("user:y may read")
			}
		})
	}
}

func TestLoadExtraRoles(t *testing.T) {
	text := "p, role:a, document, read\np, user:z, document, read\ng, user:y, role:a"
	e, err := Load(strings.NewReader(text), "policy.csv", map[string][]string{"user:x": {"role:a", "role:b"}, "user:y": {"role:a"}})
	if err != nil {
		t.Fatal(err)
	}
	got := e.Decide("user:x", Permission{"document", "read"})
	if want := (Decision{true, "policy.csv:1: p, role:a, document, read, allow"}); got != want {
		t.Errorf("Decide = %+v, want %+v", got, want)
	}
	if got := e.Roles("user:x"); !slices.Equal(got, []string{"role:a", "role:b"}) {
		t.Errorf("Roles = %q", got)
	}
}

// Casbin follows ten links and no eleventh, on both sides.
func TestInheritanceDepth(t *testing.T) {
	for links := 9; links <= 12; links++ {
		roles := []string{fmt.Sprintf("p, role:%d, document, read", links), "g, user:x, role:1"}
		groups := []string{fmt.Sprintf("p, user:x, %d, read", links), "g2, document, 1"}
		for i := 1; i < links; i++ {
			roles = append(roles, fmt.Sprintf("g, role:%d, role:%d", i, i+1))
			groups = append(groups, fmt.Sprintf("g2, %d, %d", i, i+1))
		}
		for side, rows := range map[string][]string{"roles": roles, "groups": groups} {
			t.Run(fmt.Sprintf("%d %s", links, side), func(t *testing.T) {
				got := load(t, rows...).Decide("user:x", Permission{"document", "read"}).Allowed
				if want := links <= 10; got != want {
					t.Errorf("allowed %t, want %t", got, want)
				}
			})
		}
	}
}

func TestLimits(t *testing.T) {
	rows := func(n int) []byte {
		var b bytes.Buffer
		for i := range n {
			fmt.Fprintf(&b, "g,user:%d,role:a\n", i)
		}
		return b.Bytes()
	}
	for _, row := range []struct {
		name string
		src  []byte
		want string // part of the error; empty if there is none
	}{
		{"rows n-1", rows(MaxRows - 1), ""},
		{"rows n", rows(MaxRows), ""},
		{"rows n+1", rows(MaxRows + 1), fmt.Sprintf("f:%d: policy has more than %d rows", MaxRows+1, MaxRows)},
		{"bytes n-1", bytes.Repeat([]byte("#"), MaxBytes-1), ""},
		{"bytes n", bytes.Repeat([]byte("#"), MaxBytes), ""},
		{"bytes n+1", bytes.Repeat([]byte("#"), MaxBytes+1), fmt.Sprintf("f: policy is larger than %d bytes", MaxBytes)},
		{"name n-1", []byte("g,user:" + strings.Repeat("x", maxName-6) + ",role:a"), ""},
		{"name n", []byte("g,user:" + strings.Repeat("x", maxName-5) + ",role:a"), ""},
		{"name n+1", []byte("g,user:" + strings.Repeat("x", maxName-4) + ",role:a"), "is longer than 512 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLoader()
			l.file("f", row.src)
			got := l.problems.Error()
			if row.want == "" && got != "" || !strings.Contains(got, row.want) || len(l.problems) > 1 {
				t.Errorf("problems %q, want %q", got, row.want)
			}
		})
	}
}

// The rows of the configuration count as well.
func TestLimitCountsExtraRoles(t *testing.T) {
	l := newLoader()
	for i := range MaxRows {
		l.keep(row{kind: "g", cols: []string{fmt.Sprint("user:", i), "role:a"}}, "f", i+1)
	}
	l.configuration(map[string][]string{"user:1": {"role:a"}})
	if len(l.problems) > 0 {
		t.Fatalf("a known row was counted: %v", l.problems)
	}
	l.configuration(map[string][]string{"user:x": {"role:a"}, "user:y": {"role:a"}})
	if want := fmt.Sprintf("auth.roles: policy has more than %d rows", MaxRows); l.problems.Error() != want {
		t.Errorf("problems %q, want %q", l.problems, want)
	}
}

// A reader must not be drained behind the limit.
func TestLoadStopsReading(t *testing.T) {
	endless := &counter{}
	_, err := Load(endless, "f", nil)
	if err == nil || !strings.Contains(err.Error(), "is larger than") {
		t.Errorf("error %v", err)
	}
	if endless.n > MaxBytes+1<<20 {
		t.Errorf("read %d bytes", endless.n)
	}
}

type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '#'
	}
	c.n += len(p)
	return len(p), nil
}

func TestProblemsAreBounded(t *testing.T) {
	_, err := Load(strings.NewReader(strings.Repeat("x, y\n", 50_000)), "f", map[string][]string{"bad": {"bad"}})
	var got Problems
	if !errors.As(err, &got) || len(got) != maxProblems+1 {
		t.Fatalf("%d problems, want %d", len(got), maxProblems+1)
	}
	if last := got[maxProblems].String(); last != "f: more than 1000 problems, the rest is not shown" {
		t.Errorf("last line %q", last)
	}
}

func TestReach(t *testing.T) {
	for _, row := range []struct {
		n    int
		want string
	}{
		{maxReach - 1, ""},
		{maxReach, ""},
		{maxReach + 1, `policy.csv:2: "user:x" has more than 256 roles`},
	} {
		t.Run(fmt.Sprint(row.n), func(t *testing.T) {
			text := "p, role:1, document, read\n"
			for i := range row.n {
				text += fmt.Sprintf("g, user:x, role:%d\n", i)
			}
			_, err := Load(strings.NewReader(text), "policy.csv", nil)
			if got := fmt.Sprint(err); row.want != "" && got != row.want || row.want == "" && err != nil {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}

func TestLoadFileErrors(t *testing.T) {
	if _, err := LoadFile(t.TempDir()+"/none.csv", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := LoadFile(t.TempDir(), nil); err == nil {
		t.Error("a folder was loaded")
	}
	broken := errors.New("disk on fire")
	if _, err := Load(iotest.ErrReader(broken), "f", nil); !errors.Is(err, broken) {
		t.Errorf("broken reader: %v", err)
	}
	// A policy that was read halfway must not be half a policy.
	half := iotest.DataErrReader(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("p, role:a, document, read\np, role:a, x, read, deny"))))
	if e, err := Load(half, "f", nil); err == nil || e != nil {
		t.Errorf("half a policy: %v, %v", e, err)
	}
}

// FuzzLoad: a source gives either problems that point into it or a policy that,
// written out and read again, is the same policy.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"p, role:a, document, read\ng, user:x, role:a\ng2, docs/a, readers\n",
		"# c\n\np, role:a, srv/*, *, deny\r\np, role:a, *, call",
		"g, role:a, role:b\ng, role:b, role:a", "\"p\", \"role:a\n\", x", "p, role:a, srv/*_x, y\n\x00", "\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		e, err := Load(bytes.NewReader(src), "f", nil)
		if err != nil {
			checkProblems(t, e, err, bytes.Count(src, []byte("\n"))+1)
			return
		}
		l := newLoader()
		l.file("f", src)
		var text strings.Builder
		for _, kind := range rowTypes {
			for _, cols := range l.rows[kind] {
				fmt.Fprintln(&text, row{kind: kind, cols: cols})
			}
		}
		again := load(t, text.String())
		if !reflect.DeepEqual(e.grants, again.grants) || !reflect.DeepEqual(e.subjects, again.subjects) || !reflect.DeepEqual(e.objects, again.objects) {
			t.Errorf("%q read again is another policy than %q", text.String(), src)
		}
	})
}

func checkProblems(t *testing.T, e *Engine, err error, lines int) {
	t.Helper()
	var problems Problems
	if e != nil || !errors.As(err, &problems) {
		t.Fatalf("engine %v, error %v", e, err)
	}
	for _, p := range problems {
		if p.Text == "" || p.Line > lines || strings.ContainsAny(p.String(), "\n\r\x00\x1b") {
			t.Errorf("problem %q of a source of %d lines", p, lines)
		}
	}
}
