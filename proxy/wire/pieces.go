package wire

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// ErrTooLarge says that what was to be read exceeds its limit.
var ErrTooLarge = errors.New("exceeds the size limit")

// piece is what is read at once where much is to come.
type piece [32 << 10]byte

// spare keeps pieces between messages. Growing one buffer instead would leave
// several megabytes behind for an answer of one, which the collector has to find.
var spare = sync.Pool{New: func() any { return new(piece) }}

// pieces collect bytes whose number nobody knows in advance. They are joined once,
// when it is known.
type pieces struct {
	parts [][]byte // in order
	taken []*piece // what parts stand in, as far as it goes back to spare
	size  int
}

// add appends part, which stands in p, or in no piece.
func (a *pieces) add(part []byte, p *piece) {
	a.parts = append(a.parts, part)
	a.size += len(part)
	if p != nil {
		a.taken = append(a.taken, p)
	}
}

// copy appends a copy of b.
func (a *pieces) copy(b []byte) {
	for len(b) > 0 {
		if n := len(a.parts); n == 0 || len(a.parts[n-1]) == cap(a.parts[n-1]) {
			p := spare.Get().(*piece)
			a.add(p[:0], p)
		}
		last := &a.parts[len(a.parts)-1]
		n := min(len(b), cap(*last)-len(*last))
		*last = append(*last, b[:n]...)
		a.size += n
		b = b[n:]
	}
}

// head returns the first bytes in fresh memory; b is what has not been appended.
func (a *pieces) head(b []byte) []byte {
	if len(a.parts) > 0 {
		b = a.parts[0]
	}
	return bytes.Clone(b)
}

// join returns everything and last in fresh memory. It does not change a.
func (a *pieces) join(last []byte) []byte {
	return bytes.Join(append(a.parts[:len(a.parts):len(a.parts)], last), nil)
}

// release gives the pieces back. What join returned does not stand in them.
func (a *pieces) release() {
	for _, p := range a.taken {
		spare.Put(p)
	}
	*a = pieces{}
}

// ReadAll reads r to its end, at most limit bytes. What is more is ErrTooLarge;
// with another error it returns what came before.
func ReadAll(r io.Reader, limit int) ([]byte, error) {
	var all pieces
	defer all.release()
	for {
		p := spare.Get().(*piece)
		n, err := fill(r, p[:], limit-all.size)
		all.add(p[:n], p)
		switch {
		case errors.Is(err, ErrTooLarge):
			return nil, err
		case errors.Is(err, io.EOF):
			return all.join(nil), nil
		case err != nil:
			return all.join(nil), err
		}
	}
}

// fill reads until buf is full or r ends, at most limit bytes.
func fill(r io.Reader, buf []byte, limit int) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		if n += k; n > limit {
			return n, ErrTooLarge
		}
	}
	return n, err
}
