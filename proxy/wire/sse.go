package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Event is one message of an answer. For a stream it also carries the event's
// framing (HTML Living Standard, "Server-sent events").
type Event struct {
	Data  []byte // the message; empty for an event that only sets an id or a delay
	Type  string // event name; empty means "message"
	ID    string // last event id
	Retry string // reconnection delay in milliseconds
}

// ErrEventTooLarge says that an event exceeds the reader's limit.
var ErrEventTooLarge = errors.New("event exceeds the size limit")

// EventReader reads server-sent events.
type EventReader struct {
	r    *bufio.Reader
	max  int
	skip bool // the line ended in CR: a LF that follows belongs to it
	read bool // the first line has been read
}

// NewEventReader reads events of at most max bytes of data from r.
func NewEventReader(r io.Reader, max int) *EventReader {
	return &EventReader{r: bufio.NewReaderSize(r, 4096), max: max}
}

// Next returns the next event that carries data, an id or a delay; io.EOF ends
// the stream. An event that the stream's end cut off is not returned: half a
// message is no message.
func (e *EventReader) Next() (Event, error) {
	var ev Event
	var data []byte
	seen := false
	for {
		line, err := e.line()
		if err != nil {
			return Event{}, err
		}
		if !e.read {
			e.read = true
			line = bytes.TrimPrefix(line, []byte("\ufeff")) // the stream may open with one
		}
		if len(line) == 0 {
			if ev.Data = data; seen || ev.ID != "" || ev.Retry != "" {
				return ev, nil
			}
			continue
		}
		name, value := splitField(line)
		switch name {
		case "data":
			if seen {
				data = append(data, '\n')
			}
			seen = true
			if len(data)+len(value) > e.max {
				return Event{}, ErrEventTooLarge
			}
			if data == nil {
				data = value // line returns fresh memory
				continue
			}
			data = append(data, value...)
		case "event":
			ev.Type = string(value)
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				ev.ID = string(value)
			}
		case "retry":
			ev.Retry = string(value)
		}
	}
}

func splitField(line []byte) (string, []byte) {
	i := bytes.IndexByte(line, ':')
	if i < 0 {
		return string(line), nil
	}
	value := line[i+1:]
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return string(line[:i]), value
}

// line reads up to LF, CR or CRLF. A comment counts like any other line, so
// that an endless one cannot grow the buffer.
func (e *EventReader) line() ([]byte, error) {
	var long []byte
	for {
		if _, err := e.r.Peek(1); err != nil {
			return nil, err
		}
		chunk, _ := e.r.Peek(e.r.Buffered())
		if e.skip {
			e.skip = false
			if chunk[0] == '\n' {
				_, _ = e.r.Discard(1)
				continue
			}
		}
		i := lineEnd(chunk)
		n := i
		if i < 0 {
			n = len(chunk)
		}
		if len(long)+n > e.max+len("data: ") {
			return nil, ErrEventTooLarge
		}
		long = append(long, chunk[:n]...)
		if i < 0 {
			_, _ = e.r.Discard(n)
			continue
		}
		e.skip = chunk[i] == '\r'
		_, _ = e.r.Discard(i + 1)
		return long, nil
	}
}

// lineEnd returns the index of the first CR or LF, or -1.
func lineEnd(b []byte) int {
	i := bytes.IndexByte(b, '\n')
	if i >= 0 {
		b = b[:i]
	}
	if j := bytes.IndexByte(b, '\r'); j >= 0 {
		return j
	}
	return i
}

// AppendEvent appends ev in wire form. Line breaks in the data, which JSON
// allows between tokens only, become further data lines and so survive.
func AppendEvent(dst []byte, ev Event) []byte {
	if ev.Type == "" {
		ev.Type = "message"
	}
	dst = fmt.Appendf(dst, "event: %s\n", ev.Type)
	if ev.ID != "" {
		dst = fmt.Appendf(dst, "id: %s\n", ev.ID)
	}
	if ev.Retry != "" {
		dst = fmt.Appendf(dst, "retry: %s\n", ev.Retry)
	}
	rest := ev.Data
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		dst = append(append(append(dst, "data: "...), rest[:i]...), '\n')
		rest = rest[i+1:]
	}
	return append(append(append(dst, "data: "...), rest...), '\n', '\n')
}
