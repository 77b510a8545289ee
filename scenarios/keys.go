package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"mcp-sidecar/scenarios/issuer"
)

// Names of tokens of alice's that are no longer good, or never were; and of one that
// is.
const (
	rotatedOut = "rotated out"
	unsigned   = "unsigned"
	takenBack  = "taken back"
	listed     = "on the list"
	newestKey  = "newest key"
)

// mintDead adds them to tokens. The issuer changes its key on the way: whoever asks
// for its keys afterwards finds the new one only.
func mintDead(i *issuer.Issuer, tokens map[string]string, c issuer.Claims) {
	tokens[rotatedOut] = i.MintJWT(c)
	old := i.KeyIDs()
	i.Rotate(issuer.ES256)
	for _, kid := range old {
		i.Retire(kid)
	}
	tokens[newestKey] = i.MintJWT(c)
	tokens[listed] = i.MintJWT(c)
	tokens[unsigned] = withoutSignature(tokens[newestKey])
	tokens[takenBack] = i.Mint(c)
	i.Revoke(tokens[takenBack])
}

// revocations is the operator's list: of a token whose signature is good, and which
// no issuer is asked about.
func revocations(tokens map[string]string) []byte {
	return fmt.Appendf(nil, "# Tokens that do not count any more.\nsha256:%x\n", sha256.Sum256([]byte(tokens[listed])))
}

// withoutSignature says what token says and calls for no signature (RFC 7519 section
// 6): all that a forger needs is a token's text.
func withoutSignature(token string) string {
	parts := strings.Split(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] + "."
}

// keys shows signed tokens whose signature proves nothing, and tokens that issuer or
// operator have taken back.
func keys() scenario {
	const secret = "nothing secret here"
	read := func(label, token string) trial {
		return trial{
			label: label, document: secret, own: true,
			user: "alice", token: token, tool: "read_document", args: args{"id": idArgument},
			direct: answer{allowed, readHeader + secret},
		}
	}
	attack := func(label, token string) trial {
		t := read(label, token)
		t.harmful = true
		t.proxied = answer{rejected, "authentication failed: unknown or invalid token"}
		t.effects = []effect{returned("yes", "no"), reached("yes", "no")}
		return t
	}
	onList := attack("on the operator's list, else good    ->", listed)
	onList.proxied = answer{rejected, "authentication failed: token revoked"}

	good := read("signed by the key that replaced it   ->", newestKey)
	good.proxied = answer{allowed, readHeader + wrapped(secret, nothingFound)}
	good.effects = []effect{returned("yes", "yes"), credentialUpstream("yes", "no")}

	return scenario{
		name:  "keys",
		title: "Rotated keys and revoked tokens",
		trials: []trial{
			attack("signed by a key that was rotated out ->", rotatedOut),
			good,
			attack("alg none, otherwise the same         ->", unsigned),
			attack("taken back by the issuer             ->", takenBack),
			onList,
		},
	}
}
