package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kept is a watcher of what somebody says was received.
type kept []recorded

func (k kept) mark() int            { return len(k) }
func (k kept) since(int) []recorded { return k }

// A token that is put there on purpose is found, wherever that is; on the direct
// side it is no news.
func TestLeaks(t *testing.T) {
	const token = "GE3TQMRXGAYTCMRSGAZDENJSGE"
	piece := []byte("x" + token[7:19] + "y")
	for _, row := range []struct {
		name, want string
		leak       func(l *lab, rep *report)
	}{
		{"nowhere", "", func(*lab, *report) {}},
		{"at the server", "what the server received, proxied", func(l *lab, _ *report) { l.proxied.recorder = kept{{body: piece}} }},
		{"at the open server", "", func(l *lab, _ *report) { l.direct.recorder = kept{{body: piece}} }},
		{"in the sidecar's log", "the log of mcp-sidecar", func(l *lab, _ *report) { write(t, l.processes[0].log, piece) }},
		{"in the open server's log", "", func(l *lab, _ *report) { write(t, l.processes[1].log, piece) }},
		{"in the audit file", "the audit file, proxied", func(l *lab, _ *report) { write(t, l.folder.path(auditFile), piece) }},
		{"in the audit file of another sidecar", "the audit file audit-login.jsonl", func(l *lab, _ *report) {
			l.audits = []tape{tape(l.folder.path(auditOf("login")))}
			write(t, string(l.audits[0]), piece)
		}},
		{"in an answer", "an answer", func(_ *lab, rep *report) {
			rep.Sections = []section{{Cases: []result{{Proxied: side{Answer: answer{allowed, string(piece)}}}}}}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := &lab{folder: folder(t.TempDir())}
			l.direct.name = "direct"
			l.proxied = column{name: "proxied", tokens: map[string]string{"alice": token, noToken: noToken}, audit: tape(l.folder.path(auditFile))}
			l.overHTTP.direct, l.overHTTP.proxied = &l.direct, &l.proxied
			for _, p := range []*process{{name: "mcp-sidecar"}, {name: "docserver-direct"}} {
				p.log = filepath.Join(string(l.folder), p.name+".log")
				l.processes = append(l.processes, p)
			}
			rep := &report{}
			row.leak(l, rep)
			found := l.leaks(rep)
			if len(found) > 1 || (len(found) == 1) != (row.want != "") || row.want != "" && !strings.HasPrefix(found[0], row.want+" holds") {
				t.Errorf("found %q, want %q", found, row.want)
			}
			if strings.Contains(strings.Join(found, ""), token[7:19]) {
				t.Errorf("the report says it again: %q", found)
			}
		})
	}
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
