package main

import (
	"crypto/rand"
	"time"

	"mcp-sidecar/scenarios/issuer"
)

// audience is the service that the demo's tokens are for, as in sidecar.yaml.
const audience = "doc-server"

// clientID is the client that all of the demo's tokens were given to.
const clientID = "scenarios"

// mintTokens returns the demo's tokens by name: each user's own under the user's
// name, and those that an attacker or a careless program would use. All of them
// belong to one client, as the sessions of older revisions are bound to it. The
// issuer's key is another one afterwards.
func mintTokens(i *issuer.Issuer) map[string]string {
	mint := func(user, audience string, expiry time.Time, scopes ...string) string {
		return i.Mint(issuer.Claims{
			Subject: user, ClientID: clientID, Audience: audience, Expiry: expiry, Scopes: scopes,
		})
	}
	now := time.Now()
	later := now.Add(time.Hour)
	tokens := map[string]string{
		noToken:          noToken,
		"forged":         rand.Text(), // like a real one, and unknown to the issuer
		"wrong audience": mint("alice", "other-service", later, scopes(actions)...),
		"expired":        mint("alice", audience, now.Add(-time.Hour), scopes(actions)...),
		"read-only":      mint("alice", audience, later, "documents:read"),
		"documents:*":    mint("carol", audience, later, "documents:*"),
	}
	mintDead(i, tokens, issuer.Claims{Subject: "alice", ClientID: clientID, Audience: audience, Expiry: later, Scopes: scopes(actions)})
	for _, row := range rows {
		tokens[row.user] = mint(row.user, audience, later, scopes(row.may)...)
	}
	return tokens
}

// scopes derives the scopes of a role from what it may do.
func scopes(may []string) []string {
	var all []string
	for _, action := range may {
		all = append(all, "documents:"+action)
	}
	return all
}
