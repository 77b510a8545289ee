package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// believing stands for the many servers that learn from a header who calls, and
// expect a proxy of their own to set it: whom it names is the author of what is
// created. The document server behind it knows nothing of that.
//
// INTENDED HOLE: whoever reaches the server can send the header as well.
func believing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := claimedUser(r.Header)
		if user == "" {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "reading the request failed", http.StatusBadRequest)
			return
		}
		body = signedBy(user, body)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Del("Content-Length")
		next.ServeHTTP(w, r)
	})
}

// userHeaders are the headers that name the caller, as [variable] spells them.
var userHeaders = []string{"X_FORWARDED_USER", "X_OBO"}

// variable is how programs that are called by way of CGI, and what came after it,
// read a header's name (RFC 3875 section 4.1.18): filters for X-Forwarded-User let
// X_Forwarded_User pass, and both arrive under one name.
func variable(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func claimedUser(h http.Header) string {
	for name, values := range h {
		for _, known := range userHeaders {
			if variable(name) == known {
				return values[0]
			}
		}
	}
	return ""
}

// signedBy puts user down as the author of what body is to create.
func signedBy(user string, body []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // ids stay what they are
	var m map[string]any
	if d.Decode(&m) != nil {
		return body
	}
	params, _ := m["params"].(map[string]any)
	arguments, _ := params["arguments"].(map[string]any)
	if arguments["created_by"] == nil {
		return body
	}
	arguments["created_by"] = user
	signed, err := json.Marshal(m)
	if err != nil {
		return body
	}
	return signed
}

// throughBelieving is the way to a naive server that was started elsewhere and
// believes no header. Those that the demo starts believe them, on both sides.
const throughBelieving = "to a server that believes headers"

func believingProxy(target *url.URL) http.Handler { return believing(forward(target)) }

// identity says in an argument, and in headers that a proxy might set, that
// somebody else is calling.
func identity() scenario {
	create := func(label, user, claimed string) trial {
		return trial{
			label: label, harmful: true, document: "a document",
			user: user, tool: "create_document", args: args{"content": "by whom?", "created_by": claimed},
			direct: answer{allowed, "created document id={new} (created_by " + claimed + ")"},
		}
	}
	const own = "created document id={new} (created_by alice)"
	const overridden = "identity:overridden created_by"

	lifted := create("bob says created_by=alice             ->", "bob", "alice")
	lifted.proxied = answer{rejected, `denied: token scope is missing "documents:create"`}
	lifted.effects = []effect{author("alice", "no row"), reached("yes", "no")}

	blamed := create("alice says created_by=bob             ->", "alice", "bob")
	blamed.proxied = answer{allowed, own}
	blamed.effects = []effect{author("bob", "alice"), finding(overridden, "no", "yes")}

	header := func(label, name string, more map[string]string) trial {
		t := create(label, "alice", "alice")
		t.overHTTP, t.way = true, throughBelieving
		t.headers = map[string]string{name: "bob"}
		for name, value := range more {
			t.headers[name] = value
		}
		t.direct = answer{allowed, "created document id={new} (created_by bob)"}
		t.proxied = answer{allowed, own}
		t.effects = []effect{headerUpstream(name, "yes", "no"), author("bob", "alice")}
		return t
	}
	return scenario{
		name:  "identity",
		title: "Identity spoofing (by argument and by header)",
		trials: []trial{
			lifted,
			blamed,
			header("alice sends X-Forwarded-User: bob     ->", "X-Forwarded-User", nil),
			header("alice sends X_Forwarded_User: bob     ->", "X_Forwarded_User", nil),
			// What Connection names is for the next hop alone: a proxy drops it, or takes
			// it for its own (RFC 9110 section 7.6.1).
			header("alice sends X-Obo: bob for one hop    ->", "X-Obo", map[string]string{"Connection": "x-obo"}),
		},
	}
}
