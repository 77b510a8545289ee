package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// ErrLineTooLarge says that a line exceeds the reader's limit.
var ErrLineTooLarge = errors.New("line exceeds the size limit")

// LineReader reads the messages of the stdio transport, which are lines (MCP
// 2025-11-25, basic/transports, "stdio").
type LineReader struct {
	r    *bufio.Reader
	max  int
	skip bool   // what comes next is the rest of a line that was too large
	tail []byte // the last bytes read of that line
}

// NewLineReader reads lines of at most max bytes, their ends not counted, from r.
func NewLineReader(r io.Reader, max int) *LineReader {
	return &LineReader{r: bufio.NewReaderSize(r, 16<<10), max: max}
}

// Next returns the next line that is not blank, without its LF or CRLF, in
// memory of its own; io.EOF ends the stream. A last line without an end counts:
// a message that was cut off is no JSON.
//
// With ErrLineTooLarge it returns the line's first bytes, as soon as the limit is
// exceeded, and skips the rest when it is called again. However long a line is,
// no more than the limit is kept of it.
func (l *LineReader) Next() ([]byte, error) {
	for {
		if _, err := l.Rest(); err != nil {
			return nil, err
		}
		line, err := l.line()
		if errors.Is(err, ErrLineTooLarge) || len(bytes.TrimSpace(line)) > 0 {
			return line, err
		}
		if err != nil {
			return nil, err
		}
	}
}

// tailSize is how much of the end of a line above the limit can be looked at.
const tailSize = 256

// Rest skips what is left of a line above the limit and returns the line's last
// bytes, without its LF or CRLF.
func (l *LineReader) Rest() (tail []byte, err error) {
	for l.skip {
		chunk, err := l.r.ReadSlice('\n')
		l.keepTail(chunk)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		l.skip = false
	}
	return bytes.TrimRight(l.tail, "\r\n"), nil
}

// keepTail notes the last bytes of what has been read, in the same memory: the
// rest of a line may be long.
func (l *LineReader) keepTail(chunk []byte) {
	chunk = lastBytes(chunk)
	if over := len(l.tail) + len(chunk) - tailSize; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	l.tail = append(l.tail, chunk...)
}

func lastBytes(b []byte) []byte { return b[max(0, len(b)-tailSize):] }

// tooLarge refuses a line of which long and chunk have been read.
func (l *LineReader) tooLarge(long *pieces, chunk []byte) ([]byte, error) {
	l.tail = l.tail[:0]
	for _, part := range long.parts[max(0, len(long.parts)-2):] { // the last one may be short
		l.keepTail(part)
	}
	l.keepTail(chunk)
	return long.head(chunk), ErrLineTooLarge
}

// line reads up to LF or the stream's end. An error that the stream ends with is
// returned when there is no line in front of it.
func (l *LineReader) line() ([]byte, error) {
	var long pieces
	defer long.release()
	for {
		chunk, err := l.r.ReadSlice('\n')
		whole := !errors.Is(err, bufio.ErrBufferFull)
		if whole {
			chunk = bytes.TrimSuffix(chunk, []byte("\n"))
		}
		if long.size+len(chunk) > l.max+1 { // one byte more may be the CR of the line's end
			l.skip = !whole
			return l.tooLarge(&long, chunk)
		}
		if !whole {
			long.copy(chunk)
			continue
		}
		line := bytes.TrimSuffix(long.join(chunk), []byte("\r"))
		if len(line) > l.max {
			return l.tooLarge(&long, chunk)
		}
		if len(line) > 0 {
			err = nil // the next call meets it again
		}
		return line, err
	}
}
