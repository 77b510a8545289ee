package policy

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseRows(t *testing.T) {
	rows, err := ParseRows("p.csv", []byte("# comment\n\np, role:a, x, read\ng, user:b , role:a\np, role:a, x, read, allow\ng2, x, y\n"))
	want := []Row{{[]string{"p", "role:a", "x", "read", "allow"}, 3}, {[]string{"g", "user:b", "role:a"}, 4}, {[]string{"g2", "x", "y"}, 6}}
	if err != nil || !reflect.DeepEqual(rows, want) {
		t.Errorf("%v, %v", rows, err)
	}
	var problems Problems
	if rows, err := ParseRows("p.csv", []byte("p, role:a, x, read\np, a, x, read\n")); rows != nil || !errors.As(err, &problems) || problems[0].Line != 2 {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestSubjects(t *testing.T) {
	e, err := Load(strings.NewReader("p, role:a, x, read\ng, user:b, role:a\n"), "p", map[string][]string{"user:c": {"role:a"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Subjects(); !slices.Equal(got, []string{"role:a", "user:b", "user:c"}) {
		t.Errorf("%q", got)
	}
	if got := append(Builtin().Subjects(), (*Engine)(nil).Subjects()...); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
