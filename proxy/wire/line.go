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
	skip bool // what comes next is the rest of a line that was too large
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
		if err := l.skipRest(); err != nil {
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

func (l *LineReader) skipRest() error {
	for l.skip {
		_, err := l.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return err
		}
		l.skip = false
	}
	return nil
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
			return long.head(chunk), ErrLineTooLarge
		}
		if !whole {
			long.copy(chunk)
			continue
		}
		line := bytes.TrimSuffix(long.join(chunk), []byte("\r"))
		if len(line) > l.max {
			return long.head(chunk), ErrLineTooLarge
		}
		if len(line) > 0 {
			err = nil // the next call meets it again
		}
		return line, err
	}
}
