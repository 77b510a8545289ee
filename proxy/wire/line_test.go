package wire

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const tooLarge = "(too large)"

// readLines reads all of r; a line that is too large stands for itself.
func readLines(t *testing.T, r io.Reader, max int) []string {
	t.Helper()
	lines := NewLineReader(r, max)
	var got []string
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, io.EOF):
			if line, err := lines.Next(); !errors.Is(err, io.EOF) || line != nil {
				t.Errorf("behind the end: %q, %v", line, err)
			}
			return got
		case errors.Is(err, ErrLineTooLarge):
			got = append(got, tooLarge)
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, string(line))
		}
	}
}

func TestLineReader(t *testing.T) {
	at, above := strings.Repeat("x", 100), strings.Repeat("x", 101)
	for _, tt := range []struct {
		name, stream string
		want         []string
	}{
		{"nothing", "", nil},
		{"LF", "a\nb\n", []string{"a", "b"}},
		{"CRLF", "a\r\nb\r\n", []string{"a", "b"}},
		{"no end", "a\nb", []string{"a", "b"}},
		{"CR at the end", "a\nb\r", []string{"a", "b"}},
		{"CR inside", "a\rb\n", []string{"a\rb"}},
		{"two CRs", "a\r\r\n", []string{"a\r"}},
		{"blank lines", "\n\r\n \t\na\n\n", []string{"a"}},
		{"blank end", "a\n  ", []string{"a"}},
		{"spaces are kept", " a \n", []string{" a "}},
		{"at the limit", at + "\nb\n", []string{at, "b"}},
		{"at the limit, CRLF", at + "\r\nb\n", []string{at, "b"}},
		{"at the limit, no end", at, []string{at}},
		{"above", above + "\nb\n", []string{tooLarge, "b"}},
		{"above, CRLF", above + "\r\nb\n", []string{tooLarge, "b"}},
		{"above, no end", above, []string{tooLarge}},
		{"above by a CR and more", at + "\rx\nb\n", []string{tooLarge, "b"}},
		{"above by two CRs", at + "\r\r\nb\n", []string{tooLarge, "b"}},
		{"far above", strings.Repeat("x", 40_000) + "\nb\n", []string{tooLarge, "b"}},
		{"far above, no end", strings.Repeat("x", 40_000), []string{tooLarge}},
		{"one after the other", above + "\n" + above + "\nb\n", []string{tooLarge, tooLarge, "b"}},
		{"blank and above", strings.Repeat(" ", 101) + "\nb\n", []string{tooLarge, "b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"whole": strings.NewReader(tt.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.stream)), "with its end": iotest.DataErrReader(strings.NewReader(tt.stream)),
			} {
				if got := readLines(t, r, 100); !slices.Equal(got, tt.want) {
					t.Errorf("%s: %q, want %q", how, got, tt.want)
				}
			}
		})
	}
}

// Lines longer than the reader's buffer are put together from pieces.
func TestLineReaderLongLines(t *testing.T) {
	for _, n := range []int{16<<10 - 1, 16 << 10, 16<<10 + 1, 100_000, 3 << 20} {
		long := strings.Repeat("0123456789abcdef", n/16+1)[:n]
		if got := readLines(t, strings.NewReader(long+"\r\nb\n"), n); !slices.Equal(got, []string{long, "b"}) {
			t.Errorf("%d bytes were not read as they are", n)
		}
		if got := readLines(t, strings.NewReader(long+"x\nb\n"), n); !slices.Equal(got, []string{tooLarge, "b"}) {
			t.Errorf("%d bytes: a line above the limit was let through", n)
		}
	}
}

// A line is refused when the limit is exceeded, not when it ends: the rest may
// never come. Its beginning can be looked at.
func TestLineReaderRefusesAtOnce(t *testing.T) {
	stuck := errors.New("the rest was asked for")
	r := io.MultiReader(strings.NewReader("begin"+strings.Repeat("x", 40_000)), iotest.ErrReader(stuck))
	lines := NewLineReader(r, 30_000)
	line, err := lines.Next()
	if !errors.Is(err, ErrLineTooLarge) || !bytes.HasPrefix(line, []byte("begin")) {
		t.Fatalf("%.20q, %v", line, err)
	}
	if _, err := lines.Next(); !errors.Is(err, stuck) {
		t.Errorf("%v, want the stream's own error", err)
	}
}

// The end of a line above the limit can be looked at, wherever the limit and the
// reader's own buffer cut it.
func TestLineReaderRest(t *testing.T) {
	const limit = 100
	for _, n := range []int{101, 102, 150, 16<<10 - 5, 16 << 10, 16<<10 + 3, 32<<10 + 1, 100_000} {
		long := strings.Repeat("x", n-7) + `"id":7}`
		for _, end := range []string{"\n", "\r\n"} {
			lines := NewLineReader(strings.NewReader(long+end+"b\n"), limit)
			if _, err := lines.Next(); !errors.Is(err, ErrLineTooLarge) {
				t.Fatal(err)
			}
			for range 2 { // looking changes nothing
				if tail, err := lines.Rest(); err != nil || !bytes.HasSuffix(tail, []byte(`x"id":7}`)) || len(tail) > tailSize {
					t.Errorf("%d bytes and %q: ends with %q (%v)", n, end, tail, err)
				}
			}
			if line, err := lines.Next(); err != nil || string(line) != "b" {
				t.Errorf("%d bytes: followed by %q (%v)", n, line, err)
			}
		}
	}
	if _, err := NewLineReader(strings.NewReader(strings.Repeat("x", 40_000)), limit).Rest(); err != nil {
		t.Error(err)
	}
}

// A line above the limit costs the limit, not its length.
func TestLineReaderMemory(t *testing.T) {
	const limit, length = 4 << 20, 64 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if got := readLines(t, io.LimitReader(endless{}, length), limit); !slices.Equal(got, []string{tooLarge}) {
		t.Fatalf("%.80q", got)
	}
	runtime.ReadMemStats(&after)
	if spent := after.TotalAlloc - before.TotalAlloc; spent > limit+limit/4 {
		t.Errorf("%d bytes were allocated for a limit of %d", spent, limit)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// FuzzLineReader: lines are what splitting at LF yields, however they arrive.
func FuzzLineReader(f *testing.F) {
	f.Add([]byte("a\r\n\nb"), uint8(3))
	f.Add([]byte("abcd\r\r\nabc\n"), uint8(4))
	f.Fuzz(func(t *testing.T, stream []byte, max uint8) {
		var want []string
		for _, line := range bytes.Split(stream, []byte("\n")) {
			line = bytes.TrimSuffix(line, []byte("\r"))
			switch {
			case len(line) > int(max):
				want = append(want, tooLarge)
			case len(bytes.TrimSpace(line)) > 0:
				want = append(want, string(line))
			}
		}
		for how, r := range map[string]io.Reader{"whole": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream))} {
			if got := readLines(t, r, int(max)); !slices.Equal(got, want) {
				t.Fatalf("%s: %q, want %q", how, got, want)
			}
		}
	})
}
