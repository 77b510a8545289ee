package pipeline

import (
	"strings"
	"testing"
)

func TestCheckURI(t *testing.T) {
	for uri, ok := range map[string]bool{
		"file:///a/b":           true,
		"file:///a/b%20c":       true,
		"test://x/{id}":         true,
		"memo://a/b?next=../c":  true, // a query is no path
		"memo://a/b#../c":       true,
		"https://h/a//b":        true, // a server's own names; only files fold these
		"urn:example:a..b":      true,
		"git://h/a%2Fb":         true, // a slash within a segment
		"file:///a/..%2fb":      false,
		"file:///a/..%2F..%2Fb": false,
		"memo://h/a%2F../b":     false,
		"memo://h/.%2fb":        false,
		"memo://h/a..%2Fb":      true,
		"file:///a/%2Fb":        false,
		"file:///a/../b":        false,
		"file:///a/./b":         false,
		"file:///..":            false,
		"file:///a/%2e%2e/b":    false,
		"file:///a/%2E/b":       false,
		"file:///a/%61":         false,
		"file:///a//b":          false,
		"FILE:///a//b":          false,
		`file:///a\..\b`:        false,
		"file:///a%5c..%5cb":    false,
		"file:///a%00b":         false,
		"file:///a\x00b":        false,
		"file:///a\nb":          false,
		"memo://a/b?x=%41":      false,
		"memo://u:p@h:8080/a":   true,
		"memo://a/b?":           false,
		"memo://a/b#":           false,
		"memo://a/b?#":          false,
		"memo://a/b?#c":         false,
		"memo://a/b?x#":         false,
		"memo://a:/b":           false,
		"memo://a:":             false,
	} {
		if got := checkURI(uri) == nil; got != ok {
			t.Errorf("%q: %v, want %v", uri, got, ok)
		}
	}
}

func TestNormalURI(t *testing.T) {
	for uri, want := range map[string]string{
		"file:///A/b":           "file:///A/b",
		"FILE:///A/b":           "file:///A/b",
		"Memo://Host.Example/A": "memo://host.example/A",
		"memo://HOST":           "memo://host",
		"memo://HOST?Q":         "memo://host?Q",
		"memo://h/plan#x":       "memo://h/plan",
		"memo://h/plan?q#x":     "memo://h/plan?q",
		"memo://Me:Pw@HOST/A":   "memo://Me:Pw@host/A",
		"memo://a@b@HOST/A":     "memo://a@b@host/A",
		"x://a/%c3%a9":          "x://a/%C3%A9",
		"urn:Example:A":         "urn:Example:A",
		"no-scheme":             "no-scheme",
		"test://{Name}/x":       "test://{Name}/x",
	} {
		if got := normalURI(uri); got != want {
			t.Errorf("%q: %q, want %q", uri, got, want)
		}
	}
}

// FuzzURI: of two URIs that are accepted and that RFC 3986 calls equivalent by
// case and percent-encoding, both are the same object.
func FuzzURI(f *testing.F) {
	f.Add("file:///a/b")
	f.Add("memo://host/%c3%a9?q#f")
	f.Fuzz(func(t *testing.T, uri string) {
		if checkURI(uri) != nil {
			return
		}
		n := normalURI(uri)
		if normalURI(n) != n {
			t.Errorf("%q: %q is not normal", uri, n)
		}
		scheme, rest, ok := strings.Cut(uri, ":")
		if ok && !strings.Contains(scheme, "#") && checkURI(strings.ToUpper(scheme)+":"+rest) == nil && normalURI(strings.ToUpper(scheme)+":"+rest) != normalURI(strings.ToLower(scheme)+":"+rest) {
			t.Errorf("%q: its scheme's case makes another object", uri)
		}
	})
}
