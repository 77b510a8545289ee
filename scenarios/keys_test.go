package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mcp-sidecar/scenarios/issuer"
)

// TestDeadTokens: each token is what its name says, and would be good without it.
func TestDeadTokens(t *testing.T) {
	i := issuer.New(issuer.Config{URL: "http://issuer.example", ClientID: introspectionClient})
	first := i.KeyIDs()
	tokens := map[string]string{}
	mintDead(i, tokens, issuer.Claims{Subject: "alice", ClientID: clientID, Audience: audience, Expiry: time.Now().Add(time.Hour), Scopes: scopes(actions)})
	if now := i.KeyIDs(); len(now) != 1 || slices.Contains(first, now[0]) {
		t.Errorf("keys %q, then %q", first, now)
	}
	if list := string(revocations(tokens)); !strings.HasSuffix(list, fmt.Sprintf("\nsha256:%x\n", sha256.Sum256([]byte(tokens[listed])))) || strings.Count(list, "sha256:") != 1 {
		t.Errorf("list %q", list)
	}
	for _, row := range []struct{ token, algorithm, kid string }{
		{rotatedOut, "ES256", first[0]},
		{newestKey, "ES256", i.KeyIDs()[0]},
		{listed, "ES256", i.KeyIDs()[0]},
		{unsigned, "none", ""},
	} {
		parts := strings.Split(tokens[row.token], ".")
		if len(parts) != 3 || (parts[2] == "") != (row.token == unsigned) {
			t.Errorf("%s: %d parts", row.token, len(parts))
			continue
		}
		var header struct{ Alg, Kid string }
		var claims struct{ Iss, Sub, Aud string }
		for at, v := range []any{&header, &claims} {
			text, err := base64.RawURLEncoding.DecodeString(parts[at])
			if err != nil || json.Unmarshal(text, v) != nil {
				t.Errorf("%s: part %d cannot be read", row.token, at)
			}
		}
		if header.Alg != row.algorithm || header.Kid != row.kid || claims.Iss != "http://issuer.example" || claims.Sub != "alice" || claims.Aud != audience {
			t.Errorf("%s: %+v %+v", row.token, header, claims)
		}
	}
}
