package backend

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func TestStdioTooLarge(t *testing.T) {
	const limit = 100_000
	overhead := len(`{"jsonrpc":"2.0","id":1,"result":{"text":""}}`)
	for _, row := range []struct {
		name  string
		size  int
		last  bool
		fails bool
	}{
		{"at the limit", limit - overhead, false, false},
		{"above", limit - overhead + 1, false, true},
		{"far above", 10 * limit, false, true},
		{"above, its id at the end", limit - overhead + 1, true, true},
		{"far above, its id at the end", 10 * limit, true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{MaxResult: limit, Shared: true})
			huge := statelessly("a", request("1", "huge", fmt.Sprintf(`"size":%d,"last":%v`, row.size, row.last)))
			sink := &taker{}
			err := s.Do(t.Context(), huge, sink)
			if row.fails != errors.Is(err, ErrTooLarge) || row.fails != (err != nil) || row.fails != (sink.replies == 0) {
				t.Errorf("%v, %+v", err, sink.reply)
			}
			// Others do not notice.
			held := start(t, s, statelessly("b", request("1", "hold", "")))
			seenAfter(t, s, "c", "hold", 1)
			_ = s.Do(t.Context(), huge, &taker{})
			do(t, s, statelessly("b", request("1", "env", "")))
			held.cancel()
			if err := held.end(); !errors.Is(err, context.Canceled) {
				t.Errorf("another's request ended with %v", err)
			}
		})
	}
}

// A line that does not say what it answers may answer whatever is open.
func TestStdioTooLargeForAll(t *testing.T) {
	s := children(t, "server", StdioOptions{MaxResult: 10_000})
	id := open(t, s, "a")
	one, two := start(t, s, inSession(id, request("1", "hold", ""))), start(t, s, inSession(id, request("2", "hold", "")))
	for n := 0; n < 2; {
		n = strings.Count(strings.Join(lists(t, do(t, s, inSession(id, request("1", "seen", "")))), "\n"), `"hold"`)
	}
	do(t, s, inSession(id, notification("notifications/say", lines(`{"text":"`+strings.Repeat("x", 20_000)+`","id":{},"x":1}`))))
	for _, f := range []*stream{one, two} {
		if err := f.end(); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v", err)
		}
	}
	do(t, s, inSession(id, request("1", "env", ""))) // the child is still of use
}

// 64 MB that are refused do not cost 64 MB.
func TestStdioTooLargeMemory(t *testing.T) {
	const limit = 4 << 20
	s := children(t, "server", StdioOptions{MaxResult: limit})
	do(t, s, statelessly("a", request("1", "env", "")))
	for _, last := range []bool{false, true} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := s.Do(t.Context(), statelessly("a", request("1", "huge", fmt.Sprintf(`"size":%d,"last":%v`, 64<<20, last))), &taker{}); !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
		do(t, s, statelessly("a", request("1", "env", ""))) // the whole line has been read
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 2*limit {
			t.Errorf("%d bytes were allocated for a limit of %d", spent, limit)
		}
	}
}

// A response that is no JSON-RPC message ends its request at once.
func TestStdioMalformed(t *testing.T) {
	for name, line := range map[string]string{
		"no version":           `{"id":$ID,"result":{}}`,
		"result and error":     `{"jsonrpc":"2.0","id":$ID,"result":{},"error":{}}`,
		"duplicate member":     `{"jsonrpc":"2.0","id":$ID,"result":{"a":1,"a":2}}`,
		"its id at the end":    `{"result":{"a":1,"a":2},"jsonrpc":"2.0","id":$ID}`,
		"its id in the middle": `{"result":{"a":1,"a":2},"id":$ID,"jsonrpc":"2.0"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := children(t, "server", StdioOptions{})
			if err := s.Do(t.Context(), statelessly("a", request("1", "say", lines(line))), &taker{}); !errors.Is(err, errBroken) {
				t.Errorf("%v", err)
			}
			do(t, s, statelessly("a", request("1", "env", "")))
		})
	}
}

// What a string holds is not taken for the message's id.
func TestIDFrom(t *testing.T) {
	for _, row := range []struct {
		name, head, tail string
		id               int64
		ok               bool
	}{
		{"in front", `{"jsonrpc":"2.0","id":7,"result":{"te`, "", 7, true},
		{"at the end", `{"result":{"te`, `xt":""},"jsonrpc":"2.0","id":7}`, 7, true},
		{"at the end, spaced", `{"result":{"te`, `xt":""} , "id" : 7 }  `, 7, true},
		{"before the version", `{"result":{"te`, `xt":""},"id":7,"jsonrpc":"2.0"}`, 7, true},
		{"of something inside", `{"result":{"te`, `xt":"","id":7}}`, 0, false},
		{"in a string", `{"result":{"te`, `xt":",\"id\":7}`, 0, false},
		{"a string", `{"result":{"te`, `xt":""},"id":"7"}`, 0, false},
		{"none", `{"method":"x","params":{"te`, `xt":""}}`, 0, false},
		{"of something inside, in front", `{"result":{"id":7,"te`, `xt":""}}`, 0, false},
	} {
		if id, ok := idFrom([]byte(row.head), []byte(row.tail)); id != row.id || ok != row.ok {
			t.Errorf("%s: %d %v", row.name, id, ok)
		}
	}
}
