package pipeline

import (
	"strings"
	"testing"
)

func TestEventID(t *testing.T) {
	k, other := newEventKey(), newEventKey()
	long := strings.Repeat("x", maxEventID)
	for _, row := range []struct {
		name, session, marked, want string
		ok                          bool
	}{
		{"as given", "s", k.mark("s", "7"), "7", true},
		{"with dots", "s", k.mark("s", "a.b."), "a.b.", true},
		{"as long as may be", "s", k.mark("s", long), long, true},
		{"too long", "s", k.mark("s", long+"x"), "", false},
		{"of another session", "t", k.mark("s", "7"), "", false},
		{"of another process", "s", other.mark("s", "7"), "", false},
		{"another id", "s", "8" + k.mark("s", "7")[1:], "", false},
		{"no mark", "s", "7", "", false},
		{"not visible", "s", k.mark("s", "a\tb"), "", false},
		{"split elsewhere", "s\x00a", k.mark("s", "a\x00b"), "", false},
	} {
		got, ok := k.unmark(row.session, row.marked)
		if ok != row.ok || ok && got != row.want {
			t.Errorf("%s: %q, %v", row.name, got, ok)
		}
	}
}
