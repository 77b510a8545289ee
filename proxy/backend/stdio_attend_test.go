package backend

import (
	"errors"
	"slices"
	"testing"
)

// What Attend gives is in the child's environment, and it hears when the child is gone, or was
// never there.
func TestAttend(t *testing.T) {
	var log []string
	o := StdioOptions{Command: []string{"no-such-program-anywhere"}, Attend: func() ([]string, func(), error) {
		log = append(log, "came")
		return []string{"A=b"}, func() { log = append(log, "gone") }, nil
	}}
	if p, err := startProcess(&o); err == nil {
		p.close()
		t.Error("a program that does not exist was started")
	}
	if !slices.Equal(log, []string{"came", "gone"}) {
		t.Errorf("%v", log)
	}
	refusal := errors.New("no way out")
	o.Attend = func() ([]string, func(), error) { return nil, nil, refusal }
	if _, err := startProcess(&o); !errors.Is(err, refusal) || !errors.Is(err, ErrTransport) {
		t.Errorf("%v", err)
	}
}
