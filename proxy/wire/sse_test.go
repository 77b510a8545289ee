package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEventReader(t *testing.T) {
	for _, tt := range []struct {
		name, stream string
		want         []Event
	}{
		{"one", "data: {}\n\n", []Event{{Data: []byte("{}")}}},
		{"all fields", "event: message\nid: 7\nretry: 300\ndata: {}\n\n", []Event{{Data: []byte("{}"), Type: "message", ID: "7", Retry: "300"}}},
		{"CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", []Event{{Data: []byte("a")}, {Data: []byte("b")}}},
		{"CR", "data: a\r\rdata: b\r\r", []Event{{Data: []byte("a")}, {Data: []byte("b")}}},
		{"several data lines", "data: {\ndata: }\n\n", []Event{{Data: []byte("{\n}")}}},
		{"comments and unknown fields", ": ping\n\nfoo: bar\ndata: a\n\n", []Event{{Data: []byte("a")}}},
		{"no space", "data:a\n\n", []Event{{Data: []byte("a")}}},
		{"two spaces keep one", "data:  a\n\n", []Event{{Data: []byte(" a")}}},
		{"id only", "id: 3\n\n", []Event{{ID: "3"}}},
		{"empty data with id", "id: 3\ndata:\n\n", []Event{{ID: "3", Data: nil}}},
		{"event name without data", "event: ping\n\ndata: a\n\n", []Event{{Data: []byte("a")}}},
		{"CRLF that a read splits", "data: a\r" + strings.Repeat("\n", 1) + "\r\n", []Event{{Data: []byte("a")}}},
		{"cut off at the end", "data: a\n\ndata: b\n", []Event{{Data: []byte("a")}}},
		{"byte order mark in front", "\ufeffdata: a\n\n", []Event{{Data: []byte("a")}}},
		{"id with NUL is ignored", "id: a\x00b\ndata: x\n\n", []Event{{Data: []byte("x")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{"whole": strings.NewReader(tt.stream), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.stream))} {
				events := NewEventReader(r, 100)
				for i, want := range tt.want {
					got, err := events.Next()
					if err != nil || !bytes.Equal(got.Data, want.Data) || got.Type != want.Type || got.ID != want.ID || got.Retry != want.Retry {
						t.Fatalf("%s: event %d is %+v (%v), want %+v", how, i, got, err, want)
					}
				}
				if ev, err := events.Next(); !errors.Is(err, io.EOF) {
					t.Fatalf("%s: one event more: %+v, %v", how, ev, err)
				}
			}
		})
	}
}

func TestEventReaderBounds(t *testing.T) {
	for _, tt := range []struct {
		name, stream string
		ok           bool
	}{
		{"at the limit", "data: " + strings.Repeat("x", 100) + "\n\n", true},
		{"above", "data: " + strings.Repeat("x", 101) + "\n\n", false},
		{"above over several lines", strings.Repeat("data: "+strings.Repeat("x", 30)+"\n", 4) + "\n", false},
		{"endless comment", ": " + strings.Repeat("x", 10_000), false},
	} {
		_, err := NewEventReader(strings.NewReader(tt.stream), 100).Next()
		if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// FuzzEventRoundTrip: what is written is what is read, whatever ends the lines and
// however the stream is cut into pieces. Only line breaks within the data, white
// space to JSON, become LF.
func FuzzEventRoundTrip(f *testing.F) {
	f.Add([]byte(`{"a":1}`), "id1", "100", uint8(0), uint16(0))
	f.Add([]byte("{\n\"a\":\n1}\n"), "", "", uint8(1), uint16(1))
	f.Add([]byte("{\r\"a\":\r\n1}\n\r"), "", " 7", uint8(2), uint16(3))
	f.Add(bytes.Repeat([]byte("0123456789"), 8000), "x", "", uint8(2), uint16(4095))
	f.Add(bytes.Repeat([]byte("0123456789"), 1639), "x", "7", uint8(1), uint16(100))
	f.Add([]byte(""), "", "", uint8(0), uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, id, retry string, ending uint8, size uint16) {
		if strings.ContainsAny(id+retry, "\r\n\x00") {
			return // no reader returns such an event
		}
		want := Event{Data: lineFeeds(data), Type: "message", ID: id, Retry: retry}
		var written bytes.Buffer
		for range 3 {
			if err := WriteEvent(&written, Event{Data: data, ID: id, Retry: retry}); err != nil {
				t.Fatal(err)
			}
		}
		stream := written.Bytes()
		if once := AppendEvent(nil, Event{Data: data, ID: id, Retry: retry}); !bytes.Equal(stream, bytes.Repeat(once, 3)) {
			t.Fatalf("WriteEvent writes %q, AppendEvent %q", stream, once)
		}
		stream = bytes.ReplaceAll(stream, []byte("\n"), []byte([]string{"\n", "\r", "\r\n"}[ending%3]))
		events := NewEventReader(&chopped{stream, int(size)}, len(want.Data)+len(id)+len(retry)+len("event: message"))
		for n := range 3 {
			got, err := events.Next()
			if err != nil || !bytes.Equal(got.Data, want.Data) || got.ID != id || got.Retry != retry || got.Type != want.Type {
				t.Fatalf("wrote %q, event %d is %+v (%v)", stream, n, got, err)
			}
		}
		if ev, err := events.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("one event more: %+v, %v", ev, err)
		}
	})
}

// lineFeeds writes every line break as LF.
func lineFeeds(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n"))
}

// chopped returns its bytes in pieces of changing size, at most size and one more.
type chopped struct {
	rest []byte
	size int
}

func (c *chopped) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest[:min(len(c.rest), 1+(len(c.rest)*7)%(c.size+1))])
	c.rest = c.rest[n:]
	return n, nil
}

// FuzzEventReader reads arbitrary streams: in one piece and in many they are the
// same events, as an independent reading of the standard has them, and never more
// is taken in than the limit allows.
func FuzzEventReader(f *testing.F) {
	for _, seed := range []string{
		"data: a\n\ndata: b\r\n\r\ndata:c\r\r", ":ping\n\nid: 1\nid\ndata\n\n", "\ufeffdata: a\n\n", "event: x\n\ndata: y\n\n", "data: a\ndata: b\n\nretry: 5\n\n",
		"id: a\x00b\ndata: x\n\n", "data: " + strings.Repeat("x", 5000) + "\n\n", strings.Repeat("data: x\n", 2000) + "\n", "data: a\n", "\r\n\r\ndata: a\r\n\r", "data: 1\r\n\n", " data: a\n\n", "data : a\n\n",
	} {
		f.Add([]byte(seed), uint16(3), uint16(20))
		f.Add([]byte(seed), uint16(4000), uint16(60_000))
	}
	f.Fuzz(func(t *testing.T, stream []byte, size, limit uint16) {
		want := readSlowly(stream, int(limit))
		source := &counter{r: &chopped{stream, int(size)}}
		events := NewEventReader(source, int(limit))
		used := 0
		for n := 0; ; n++ {
			got, err := events.Next()
			if err != nil {
				if errors.Is(err, io.EOF) != (n == len(want)) && !errors.Is(err, ErrTooLarge) || errors.Is(err, ErrTooLarge) && n != len(want)-1 {
					t.Fatalf("%q ends after event %d with %v; want %d events", stream, n, err, len(want))
				}
				return
			}
			if n >= len(want) || want[n].tooLarge {
				t.Fatalf("%q: one event more, %+v", stream, got)
			}
			if w := want[n].Event; !bytes.Equal(got.Data, w.Data) || got.Type != w.Type || got.ID != w.ID || got.Retry != w.Retry {
				t.Fatalf("%q: event %d is %+v, want %+v", stream, n, got, w)
			}
			if used = want[n].end; source.n > used+int(limit)+len(piece{})+len("data: ") {
				t.Fatalf("%d bytes are held behind byte %d", source.n-used, used)
			}
		}
	})
}

// slowEvent is an event and where it ends; the last one of a stream may be the one
// that is too large.
type slowEvent struct {
	Event
	end      int
	tooLarge bool
}

// readSlowly reads the whole of stream as the standard's algorithm is written.
func readSlowly(stream []byte, limit int) (all []slowEvent) {
	text := strings.TrimPrefix(string(stream), "\ufeff")
	skipped := len(stream) - len(text)
	var ev Event
	seen := false
	for at := 0; ; {
		i := strings.IndexAny(text[at:], "\r\n")
		if unfinished := i < 0; unfinished {
			i = len(text) - at
		}
		line := text[at : at+i]
		if first := at == 0; len(line)+map[bool]int{true: skipped}[first] > limit+len("data: ") {
			return append(all, slowEvent{tooLarge: true})
		}
		if at+i == len(text) {
			return all
		}
		at += i + 1
		if text[at-1] == '\r' && at < len(text) && text[at] == '\n' {
			at++
		}
		if line == "" {
			if seen || ev.ID != "" || ev.Retry != "" {
				all = append(all, slowEvent{Event: ev, end: skipped + at})
			}
			ev, seen = Event{}, false
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case name == "data" && seen:
			ev.Data = append(ev.Data, "\n"+value...)
		case name == "data":
			ev.Data, seen = []byte(value), true
		case name == "event":
			ev.Type = value
		case name == "id" && !strings.Contains(value, "\x00"):
			ev.ID = value
		case name == "retry":
			ev.Retry = value
		}
		if len(ev.Data) > limit {
			return append(all, slowEvent{tooLarge: true})
		}
	}
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// A stream that breaks off: what came is there, to find an id in.
func TestReadAllBroken(t *testing.T) {
	broken := errors.New("broken")
	got, err := ReadAll(io.MultiReader(strings.NewReader("begun"), iotest.ErrReader(broken)), 100)
	if string(got) != "begun" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzReadAll: everything up to the limit, nothing beyond it.
func FuzzReadAll(f *testing.F) {
	for _, n := range []int{0, 1, 100, len(piece{}), len(piece{}) + 1, 3 * len(piece{})} {
		f.Add(bytes.Repeat([]byte("x"), n), uint32(n-1), uint16(100))
		f.Add(bytes.Repeat([]byte("x"), n), uint32(n), uint16(60_000))
		f.Add(bytes.Repeat([]byte("x"), n), uint32(n+1), uint16(0))
	}
	f.Fuzz(func(t *testing.T, all []byte, limit uint32, size uint16) {
		source := &counter{r: &chopped{all, int(size)}}
		got, err := ReadAll(source, int(limit))
		switch {
		case len(all) <= int(limit) && (err != nil || !bytes.Equal(got, all)):
			t.Fatalf("%d bytes with a limit of %d: %d bytes, %v", len(all), limit, len(got), err)
		case len(all) > int(limit) && (!errors.Is(err, ErrTooLarge) || got != nil):
			t.Fatalf("%d bytes with a limit of %d: %d bytes, %v", len(all), limit, len(got), err)
		case source.n > int(limit)+len(piece{}):
			t.Fatalf("%d bytes were read with a limit of %d", source.n, limit)
		}
	})
}
