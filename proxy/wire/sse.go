package wire

import (
	"bytes"
	"cmp"
	"io"
)

// Event is one message of an answer. For a stream it also carries the event's
// framing (HTML Living Standard, "Server-sent events").
type Event struct {
	Data  []byte // the message; empty for an event that only sets an id or a delay
	Type  string // event name; empty means "message"
	ID    string // last event id
	Retry string // reconnection delay in milliseconds
	// Server says which of several servers the message comes from, where the
	// upstream is several. It is not part of the framing.
	Server string
}

// EventReader reads server-sent events.
type EventReader struct {
	r    io.Reader
	max  int
	err  error // what the last read said beside its bytes
	skip bool  // the line ended in CR: a LF that follows belongs to it
	read bool  // the first line has been read

	// The bytes that have been read and not used are buf[from:to]. buf is small
	// or, while there is more, stands in big: a stream may be silent for hours.
	buf      []byte
	from, to int
	small    [512]byte
	big      *piece
}

// NewEventReader reads events of at most max bytes of data from r.
func NewEventReader(r io.Reader, max int) *EventReader {
	e := &EventReader{r: r, max: max}
	e.buf = e.small[:]
	return e
}

// Next returns the next event that carries data, an id or a delay; io.EOF ends
// the stream, ErrTooLarge says that an event exceeds the limit. An event that the
// stream's end cut off is not returned: half a message is no message.
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
			ev = Event{} // an event without data is none, whatever its name
			continue
		}
		switch name, value := splitField(line); string(name) {
		case "data":
			if seen {
				data = append(data, '\n')
			}
			seen = true
			if len(data)+len(value) > e.max {
				return Event{}, ErrTooLarge
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

func splitField(line []byte) (name, value []byte) {
	name, value, _ = bytes.Cut(line, []byte(":"))
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return name, value
}

// line reads up to LF, CR or CRLF and returns the line in fresh memory. A comment
// counts like any other line, so that an endless one cannot grow the buffer.
func (e *EventReader) line() ([]byte, error) {
	var before pieces // the line's beginning, where it is long
	defer before.release()
	e.rewind()
	for at := e.from; ; {
		if at == e.to {
			if at == len(e.buf) {
				before.add(e.buf[e.from:], e.big)
				e.borrow()
				at = 0
			}
			if err := e.more(); err != nil {
				return nil, err
			}
		}
		if e.skip {
			if e.skip = false; e.buf[at] == '\n' {
				at++
				e.from = at
				continue
			}
		}
		i := lineEnd(e.buf[at:e.to])
		if at = at + i; i < 0 {
			at = e.to
		}
		if before.size+at-e.from > e.max+len("data: ") {
			return nil, ErrTooLarge
		}
		if i >= 0 {
			line := before.join(e.buf[e.from:at])
			e.skip, e.from = e.buf[at] == '\r', at+1
			return line, nil
		}
	}
}

// rewind makes room once everything that was read has been used.
func (e *EventReader) rewind() {
	if e.from < e.to {
		return
	}
	if e.big != nil {
		spare.Put(e.big)
		e.big = nil
	}
	e.buf, e.from, e.to = e.small[:], 0, 0
}

// borrow goes on in an empty piece.
func (e *EventReader) borrow() {
	e.big = spare.Get().(*piece)
	e.buf, e.from, e.to = e.big[:], 0, 0
}

// more reads at least one byte.
func (e *EventReader) more() error {
	for range maxEmptyReads {
		if e.err != nil {
			return e.err
		}
		var n int
		n, e.err = e.r.Read(e.buf[e.to:])
		if e.to += n; n > 0 {
			return nil
		}
	}
	return io.ErrNoProgress
}

// maxEmptyReads is how often a reader may return neither bytes nor an error.
const maxEmptyReads = 100

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
// allows between tokens only, become further data lines: they arrive as LF.
func AppendEvent(dst []byte, ev Event) []byte {
	dst = appendHead(dst, ev)
	rest := ev.Data
	for i := lineEnd(rest); i >= 0; i = lineEnd(rest) {
		dst = append(append(append(dst, "data: "...), rest[:i]...), '\n')
		if rest[i] == '\r' && i+1 < len(rest) && rest[i+1] == '\n' {
			i++
		}
		rest = rest[i+1:]
	}
	return append(append(append(dst, "data: "...), rest...), '\n', '\n')
}

func appendHead(dst []byte, ev Event) []byte {
	dst = append(append(append(dst, "event: "...), cmp.Or(ev.Type, "message")...), '\n')
	if ev.ID != "" {
		dst = append(append(append(dst, "id: "...), ev.ID...), '\n')
	}
	if ev.Retry != "" {
		dst = append(append(append(dst, "retry: "...), ev.Retry...), '\n')
	}
	return dst
}

// largeData is what is not copied once more to be written, in bytes.
const largeData = 16 << 10

// WriteEvent writes what AppendEvent appends.
func WriteEvent(w io.Writer, ev Event) error {
	if len(ev.Data) < largeData || lineEnd(ev.Data) >= 0 {
		_, err := w.Write(AppendEvent(make([]byte, 0, len(ev.Data)+64), ev))
		return err
	}
	for _, part := range [...][]byte{append(appendHead(nil, ev), "data: "...), ev.Data, []byte("\n\n")} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
