package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	credentials "mcp-sidecar/scenarios/canary"
)

// leaks looks for any piece of any client's token behind the sidecar and in
// everything that it wrote during the whole run. The direct column leaks them all;
// that is what it shows.
func (l *lab) leaks(rep *report) []string {
	var w credentials.Watch
	for name, token := range l.proxied.tokens {
		if name != noToken {
			w.Add(name, token)
		}
	}
	if b := l.overHTTP.proxied.brokered; b != nil {
		for _, token := range b.vendor.issued() {
			w.Add("of the vendor", token)
		}
	}
	var found []string
	look := func(where string, text []byte) {
		for _, f := range w.Search(text) {
			found = append(found, fmt.Sprintf("%s holds a piece of the token %q", where, f.Name))
		}
	}
	for _, c := range l.columns() {
		if c == &l.direct || c == l.overHTTP.direct {
			continue
		}
		if c.recorder != nil {
			for _, r := range c.recorder.since(0) {
				look("what the server received, "+c.name, r.text())
			}
		}
		look("the audit file, "+c.name, fileText(string(c.audit)))
	}
	for _, audit := range l.audits {
		look("the audit file "+filepath.Base(string(audit)), fileText(string(audit)))
	}
	for _, p := range l.processes {
		if !strings.Contains(p.name, l.direct.name) {
			look("the log of "+p.name, fileText(p.log))
		}
	}
	answers, _ := json.Marshal(rep)
	look("an answer", answers)
	return found
}

// fileText is what the file holds; one that is not there holds nothing.
func fileText(name string) []byte {
	text, _ := os.ReadFile(name)
	return text
}
