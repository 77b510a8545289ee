package main

import (
	"net/http"
	"net/url"
)

// copyingProxy is what many put in front of an MCP server: it terminates the
// client's connection and passes on every header, the client's credential
// included (MCP 2026-07-28, basic/authorization/security-considerations, "Access
// Token Privilege Restriction").
//
// INTENDED HOLE: that is token passthrough. Nothing of the sidecar is built like it.
func copyingProxy(target *url.URL) http.Handler { return forward(target) }

// throughCopying is the way through it.
const throughCopying = "through a proxy that copies headers"

// passthrough reaches one server in three ways: with nothing before it, so that no
// token is needed; through a proxy that hands the client's token on; and through
// the sidecar, which shows the server its own.
func passthrough() scenario {
	const secret = "nothing secret here"
	read := func(label string) trial {
		return trial{
			label: label, harmful: true, document: secret, overHTTP: true,
			user: "alice", tool: "read_document", args: args{"id": idArgument},
			direct:  answer{allowed, readHeader + secret},
			proxied: answer{allowed, readHeader + wrapped(secret, nothingFound)},
		}
	}
	open := read("none: no token                  ->")
	open.token = noToken
	open.overHTTP = false
	open.proxied = answer{rejected, "authentication failed: no bearer token was sent"}
	open.effects = []effect{returned("yes", "no"), reached("yes", "no")}

	copied := read("copying proxy: alice's token    ->")
	copied.way = throughCopying
	copied.effects = []effect{
		credentialUpstream("yes", "no"), shown("the client's", "the sidecar's"), replayed("yes", "no"),
	}

	everywhere := read("ours: her token, in six headers ->")
	everywhere.headers = map[string]string{
		"Cookie":                   "access_token={token}",
		"X-Forwarded-Access-Token": "{token}",
		"X_Api_Key":                "{token}",
		"X-Original-Authorization": "Basic {token in Base64}",
		"Proxy-Authorization":      "Bearer {token}",
	}
	everywhere.effects = []effect{credentialUpstream("yes", "no"), credentialEver("yes", "no"), shown("the client's", "the sidecar's")}

	return scenario{
		name:   "passthrough",
		title:  "Token passthrough (no proxy, a copying proxy, ours)",
		trials: []trial{open, copied, everywhere},
	}
}
