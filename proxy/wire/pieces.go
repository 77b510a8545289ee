package wire

import (
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

// join returns everything and last in fresh memory.
func (a *pieces) join(last []byte) []byte {
	all := make([]byte, 0, a.size+len(last))
	for _, part := range a.parts {
		all = append(all, part...)
	}
	return append(all, last...)
}

// release gives the pieces back. What join returned does not stand in them.
func (a *pieces) release() {
	for _, p := range a.taken {
		spare.Put(p)
	}
	*a = pieces{}
}

// ReadAll reads r to its end, at most limit bytes. What is more is ErrTooLarge.
func ReadAll(r io.Reader, limit int) ([]byte, error) {
	var all pieces
	defer all.release()
	for {
		p := spare.Get().(*piece)
		n, err := fill(r, p[:], limit-all.size)
		all.add(p[:n], p)
		switch {
		case errors.Is(err, io.EOF):
			return all.join(nil), nil
		case err != nil:
			return nil, err
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
