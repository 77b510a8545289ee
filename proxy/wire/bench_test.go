package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// BenchmarkScan compares Scan with decoders that only read tokens: neither checks
// an envelope or keeps an index, and encoding/json lets duplicates pass.
func BenchmarkScan(b *testing.B) {
	for _, size := range []int{100, 10 << 10, 1 << 20} {
		for name, raw := range map[string][]byte{"prose": proseMessage(size), "structure": structureMessage(size)} {
			run := func(reader string, read func([]byte) error) {
				b.Run(fmt.Sprintf("%s/%d/%s", name, size, reader), func(b *testing.B) {
					b.SetBytes(int64(len(raw)))
					b.ReportAllocs()
					for b.Loop() {
						if err := read(raw); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			run("Scan", func(raw []byte) error { _, err := Scan(raw, Limits{Keys: 1 << 20}); return err })
			run("jsontext", readStrict)
			run("encoding-json", readLenient)
		}
	}
}

func proseMessage(size int) []byte {
	text := strings.Repeat("The quick brown fox \"jumps\" over the lazy dog, Zoë says.\nAgain and again. ", 1+size/70)[:max(size-100, 5)]
	quoted, _ := json.Marshal(strings.ToValidUTF8(text, ""))
	return []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":` + string(quoted) + `}}}`)
}

func structureMessage(size int) []byte {
	b := []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[],"structuredContent":{"rows":[`)
	for i := 0; len(b) < size; i++ {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":`+strconv.Itoa(i)+`,"name":"row","tags":["a","b"],"size":1.5,"ok":true}`...)
	}
	return append(b, `]}}}`...)
}

func readStrict(raw []byte) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw))
	for {
		if _, err := d.ReadToken(); err != nil {
			return end(err)
		}
	}
}

func readLenient(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	for {
		if _, err := d.Token(); err != nil {
			return end(err)
		}
	}
}

func end(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
