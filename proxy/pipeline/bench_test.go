package pipeline

import (
	"encoding/base64"
	"strings"
	"testing"

	"mcp-sidecar/proxy/wire"
)

const prose = "The quarterly report of the harbour office lists ships, tides and the weather of each day. "

func BenchmarkInspectOutput(b *testing.B) {
	text := strings.Repeat(prose, 100<<10/len(prose))
	var small []string
	for i := 0; i+100 <= len(text); i += 100 {
		small = append(small, text[i:i+100])
	}
	records := `[` + strings.TrimSuffix(strings.Repeat(`{"id":12345,"text":"`+prose+`\n\"`+prose+`\""},`, 100<<10/len(prose)/2), ",") + `]`
	for _, row := range []struct{ name, method, result string }{
		{"one block", "tools/call", blocksOf(text)},
		{"two blocks", "tools/call", blocksOf(text[:len(text)/2], text[len(text)/2:])},
		{"small blocks", "tools/call", blocksOf(small...)},
		{"JSON", "tools/call", blocksOf(`["` + text + `"]`)},
		{"JSON with escapes", "tools/call", blocksOf(records)},
		{"structured", "tools/call", `{"content":[],"structuredContent":{"a":` + records + `}}`},
		{"image", "tools/call", `{"content":[{"type":"image","data":"` + base64.StdEncoding.EncodeToString([]byte("\x89PNG\x00"+text)) + `"}]}`},
		{"text blob", "resources/read", `{"contents":[{"uri":"a:b","blob":"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"}]}`},
	} {
		b.Run(row.name, func(b *testing.B) {
			body := []byte(`{"jsonrpc":"2.0","id":1,"result":` + row.result + `}`)
			p := inspector(b, nil)
			c := caller(b, row.method, "t", Legacy)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				m, err := wire.Scan(body, wire.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.inspectOutput(c, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEvents is a stream of small messages with a full window.
func BenchmarkEvents(b *testing.B) {
	p, c := inspector(b, nil), caller(b, "tools/call", "t", Modern)
	for _, text := range []string{prose, ""} {
		b.Run(map[bool]string{true: "empty", false: "text"}[text == ""], func(b *testing.B) {
			m := scanned(b, progressOf(text))
			for range 100 {
				_, _ = p.inspectOutput(c, m)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.inspectOutput(c, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
