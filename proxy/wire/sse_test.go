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
		if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, ErrEventTooLarge) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// FuzzEventRoundTrip: what is written is what is read, whatever the data, as
// long as it is what JSON can be (no bare carriage return).
func FuzzEventRoundTrip(f *testing.F) {
	f.Add([]byte(`{"a":1}`), "id1", "100")
	f.Add([]byte("{\n\"a\":\n1}\n"), "", "")
	f.Fuzz(func(t *testing.T, data []byte, id, retry string) {
		if len(data) == 0 || bytes.ContainsRune(data, '\r') || strings.ContainsAny(id+retry, "\r\n\x00") || strings.HasPrefix(id, " ") || strings.HasPrefix(retry, " ") {
			return
		}
		wrote := AppendEvent(nil, Event{Data: data, ID: id, Retry: retry})
		got, err := NewEventReader(bytes.NewReader(wrote), len(data)+10+len(id)+len(retry)).Next()
		if err != nil || !bytes.Equal(got.Data, data) || got.ID != id || got.Retry != retry {
			t.Fatalf("wrote %q, read %+v (%v)", wrote, got, err)
		}
	})
}
