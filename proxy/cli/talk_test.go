package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTalk(t *testing.T) {
	bubble := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	bubble("is written in order", func(t *testing.T) {
		var b bytes.Buffer
		k := newTalk(&b)
		for i := range 100 {
			fmt.Fprintln(k, i)
		}
		k.close()
		if got := strings.Fields(b.String()); len(got) != 100 || got[0] != "0" || got[99] != "99" {
			t.Errorf("%q", got)
		}
	})
	bubble("one that nobody reads holds nobody up", func(t *testing.T) {
		r, w := io.Pipe()
		k := newTalk(w)
		line := strings.Repeat("x", 1023) + "\n"
		for range 1000 {
			if n, err := k.Write([]byte(line)); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
		began := time.Now()
		k.close()
		if d := time.Since(began); d != talkTime {
			t.Errorf("closed after %v", d)
		}
		_ = r.Close()
	})
	bubble("a reader that comes back learns what he missed", func(t *testing.T) {
		r, w := io.Pipe()
		k := newTalk(w)
		line := strings.Repeat("x", 1023) + "\n"
		for range 100 {
			_, _ = io.WriteString(k, line)
		}
		var b bytes.Buffer
		done := make(chan struct{})
		go func() { defer close(done); _, _ = io.Copy(&b, r) }()
		synctest.Wait()
		_, _ = io.WriteString(k, "more\n")
		k.close()
		_ = w.Close()
		<-done
		want := strings.Repeat(line, 64) + "mcp-sidecar: 36 message(s) were dropped here because stderr was not read\nmore\n"
		if b.String() != want {
			t.Errorf("%d bytes, ending in %q", b.Len(), b.String()[max(0, b.Len()-200):])
		}
	})
	bubble("a message above the bound comes alone", func(t *testing.T) {
		var b bytes.Buffer
		k := newTalk(&b)
		_, _ = k.Write(make([]byte, maxTalk+1))
		k.close()
		if b.Len() != maxTalk+1 {
			t.Errorf("%d bytes", b.Len())
		}
	})
	bubble("a closed one is left alone", func(t *testing.T) {
		writes := 0
		k := newTalk(writerFunc(func([]byte) (int, error) { writes++; return 0, errors.New("closed") }))
		for range 3 {
			_, _ = io.WriteString(k, "x\n")
			synctest.Wait()
		}
		k.close()
		if writes != 1 {
			t.Errorf("%d writes", writes)
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
