package backend

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestVisible(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"plain text, ümläut 漢字", "plain text, ümläut 漢字"},
		{"\x1b[31mred\x1b]0;title\x07", `\x1b[31mred\x1b]0;title\a`},
		{"tab\tand CR\rand NUL\x00 and DEL\x7f", `tab\tand CR\rand NUL\x00 and DEL\x7f`},
		{"bidi \u202e and zero width \u200b and tag \U000e0041", `bidi \u202e and zero width \u200b and tag \U000e0041`},
		{"not UTF-8: \xff\xfe", `not UTF-8: \xff\xfe`},
		{"C1 \u009b31m", `C1 \u009b31m`},
		{`C:\path "quoted"`, `C:\path "quoted"`},
	} {
		if got := visible([]byte(row.in)); got != row.want {
			t.Errorf("%q became %s, want %s", row.in, got, row.want)
		}
	}
}

// collect returns the lines that an operator is told of a child's text.
func collect(t *testing.T, text string, now func() time.Time) []string {
	t.Helper()
	var got []string
	k := newTalk(func(line string) { got = append(got, line) }, now)
	k.read(strings.NewReader(text))
	k.close(time.Minute)
	return got
}

func TestStderrBounds(t *testing.T) {
	c := newClock()
	long := strings.Repeat("x", stderrLine)
	if got, want := collect(t, "a\r\n\n"+long+"\n"+long+"xyz\nb", c.Now), []string{"a", long, long + " […]", "b"}; !slices.Equal(got, want) {
		t.Errorf("%.80q", got)
	}
	if got := collect(t, strings.Repeat("line\n", stderrBurst+100), c.Now); len(got) != stderrBurst {
		t.Errorf("%d lines at once, want %d", len(got), stderrBurst)
	}
}

// A loud child is heard again after a while, and what was dropped is counted.
func TestStderrRate(t *testing.T) {
	c := newClock()
	var got []string
	k := newTalk(func(line string) { got = append(got, line) }, c.Now)
	k.read(strings.NewReader(strings.Repeat("line\n", stderrBurst+7)))
	c.advance(time.Second)
	k.read(strings.NewReader("again\n"))
	k.close(time.Minute)
	if got = got[stderrBurst:]; !slices.Equal(got, []string{"[7 lines dropped]", "again"}) {
		t.Errorf("%q", got)
	}
}

// When nobody takes the lines, the child is still read.
func TestStderrQueue(t *testing.T) {
	c := newClock()
	now := func() time.Time { c.advance(time.Minute); return c.Now() } // the rate is no limit
	release := make(chan struct{})
	var got []string
	k := newTalk(func(line string) { <-release; got = append(got, line) }, now)
	k.read(strings.NewReader(strings.Repeat("line\n", maxUnsaid+100)))
	close(release)
	k.close(time.Minute)
	if len(got) < maxUnsaid || len(got) > maxUnsaid+1 {
		t.Errorf("%d lines", len(got))
	}
}

// What a consumer does harms neither the child nor the end.
func TestStdioStderr(t *testing.T) {
	t.Run("blocks", func(t *testing.T) {
		took, release, over := make(chan string, 1), make(chan struct{}), make(chan struct{})
		s := children(t, "server", StdioOptions{Stderr: func(line string) {
			select {
			case took <- line:
			default:
			}
			<-release
			if line == "last" {
				close(over)
			}
		}})
		s.bounds.grace = 200 * time.Millisecond
		do(t, s, statelessly("a", request("1", "stderr", lines("one\n"))))
		if line := <-took; line != "one" {
			t.Errorf("%q", line)
		}
		do(t, s, statelessly("a", request("1", "stderr", lines(slices.Repeat([]string{strings.Repeat("x", 10_000) + "\n"}, 100)...))))
		do(t, s, statelessly("a", request("1", "stderr", lines("last\n"))))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		close(release)
		<-over
		<-s.talk.done
	})
	t.Run("panics", func(t *testing.T) {
		took := make(chan string)
		s := children(t, "server", StdioOptions{Stderr: func(line string) {
			took <- line
			panic("no")
		}})
		for _, line := range []string{"one", "two"} {
			do(t, s, statelessly("a", request("1", "stderr", lines(line+"\n"))))
			if got := <-took; got != line {
				t.Errorf("%q", got)
			}
		}
	})
	t.Run("is none", func(t *testing.T) {
		s := children(t, "server", StdioOptions{})
		do(t, s, statelessly("a", request("1", "stderr", lines(slices.Repeat([]string{strings.Repeat("x", 10_000)}, 100)...))))
	})
}

// deafHandler is a log that nobody reads: the first record blocks.
type deafHandler struct {
	slog.Handler
	release, took chan struct{}
}

func (h *deafHandler) Handle(context.Context, slog.Record) error {
	h.took <- struct{}{}
	<-h.release
	return nil
}

// A log that blocks holds nothing up.
func TestStdioLogBlocks(t *testing.T) {
	h := &deafHandler{Handler: slog.DiscardHandler, release: make(chan struct{}), took: make(chan struct{}, 10)}
	s := children(t, "banner", StdioOptions{Log: slog.New(listening{h})})
	s.bounds.grace = 100 * time.Millisecond
	do(t, s, statelessly("a", request("1", "env", "")))
	<-h.took
	if _, err := doErr(t, s, statelessly("a", request("1", "die", ""))); !errors.Is(err, ErrTransport) {
		t.Error(err)
	}
	do(t, s, statelessly("b", request("1", "env", "")))
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	close(h.release)
	<-s.talk.done
}

// listening is a handler that wants everything.
type listening struct{ *deafHandler }

func (listening) Enabled(context.Context, slog.Level) bool { return true }

// What noise says is not logged, and noise is not logged line by line.
func TestStdioNoiseLog(t *testing.T) {
	c := newClock()
	var log bytes.Buffer
	s := children(t, "server", StdioOptions{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: c.Now, After: c.After})
	noise := statelessly("a", request("1", "say", lines("secret-1", "secret-2", `{"jsonrpc":"2.0","id":$ID,"result":{}}`)))
	do(t, s, noise)
	do(t, s, noise)
	c.advance(time.Minute)
	do(t, s, noise)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := strings.Count(log.String(), "no messages"); got != 2 || strings.Contains(log.String(), "secret") {
		t.Errorf("%d entries:\n%s", got, log.String())
	}
}
