package secrets

import (
	"strings"
	"testing"
)

// FuzzRedact: offsets are in range, in order and apart; redacted text holds
// nothing more to redact; it hardly grows; valid UTF-8 stays valid.
func FuzzRedact(f *testing.F) {
	for _, tt := range positives {
		f.Add(tt.text)
	}
	for _, tt := range benign {
		f.Add(tt.text)
	}
	// Each of these once changed again when it was redacted twice.
	for _, s := range []string{
		"-----BEGIN .eyJzdWIiOiIx.IOSFODNN7EXAMPLE-----END PRIVATE KEY----------BEGIN PRIVATE KEY-----",
		"postgres://a:b1@ctoken7:hunter22_idu:p9w@\xff",
		"postgres://a:b1@capi_key...u:p9w@-----BEGIN x9",
		" -u 'u:p9w@/api_key/postgres://a:b1@c,",
		" -u AKIAxxxx" + body36 + "postgres://a:b1@c",
		"Bearer " + body36 + "_.eyJzdWIiOiIx.changeme-----BEGIN PRIVATE KEY-----",
		"x9://-----BEGIN PRIVATE KEY----- -----END PRIVATE KEY-----u:p9w@",
		"/AIzahunter22IOSFODNN7EXAMPLEapi_keypass-----BEGIN PRIVATE KEY-----",
		"AIza%4f9d0c7be1a85236d90b7ce84f1a3d62AKIAAKIAAKIAAKIAAKIA-----BEGIN PRIVATE KEY-----",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkRedaction(t, s)
		c := scanner{text: s}
		if c.scan(); c.work > maxWork*(len(s)+sample) {
			t.Fatalf("%d bytes read behind the words of %d bytes", c.work, len(s))
		}
	})
}

// FuzzPlanted: a credential that stands between white space or quotes never
// survives, whatever is around it.
func FuzzPlanted(f *testing.F) {
	planted := []struct{ text, secret string }{
		{awsID, awsID},
		{webToken, webToken},
		{"ghp_" + body36, body36},
		{"redis://:hunter22@cache:6379/0", "hunter22"},
		{"PGPASSWORD=hunter22", "hunter22"},
		{"Authorization: Bearer " + body36, body36},
		{pemBlock("PRIVATE KEY"), pemBody},
		{`"password":"8XqB2jl1"`, "8XqB2jl1"},
	}
	f.Add("", "", uint8(0))
	f.Add("token=\"", "\"://a:b@c", uint8(3))
	f.Add("[REDACTED:", "]", uint8(4))
	f.Add("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", uint8(6))
	f.Fuzz(func(t *testing.T, before, after string, n uint8) {
		p := planted[int(n)%len(planted)]
		if strings.Contains(before, p.secret) || strings.Contains(after, p.secret) {
			return // it stands where no rule promises to see it
		}
		s := before + " \n" + p.text + "\n " + after
		if out, _ := Redact(s); strings.Contains(out, p.secret) {
			t.Fatalf("%q survives in %q", p.secret, out)
		}
	})
}

// pieces are what the rules react to. Chance rarely writes "://" or "password";
// joining pieces reaches what one redaction does to its neighbours.
var pieces = []string{
	" ", "\n", "\t", `"`, `\"`, "'", "`", ":", "=", ",", ";", ".", "-", "_", "/", "@", "[", "]", "(", ")", "{", "}", "$", "%", "<", ">", "#", "?", "*", `\`, `\n`, "ü", "，", "\xff",
	"a", "Z", "7", "x9", "abc12345", "hunter22", "://", "http", "postgres://a:b1@c", "@h", "u:p9w@", "eyJhbGciOiJI", ".eyJzdWIiOiIx", "ey",
	"AKIA", "IOSFODNN7EXAMPLE", "ghp_", "q8Zr1Lw0Xc7Vb2Nm5Kj4Hg3Fd6Sa9PoTyUeI", "sk-", "sk-proj-", "xoxb-", "AIza",
	"-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "-----BEGIN ", "PRIVATE KEY-----",
	"Authorization: ", "Bearer ", "Basic ", " -u ", "password", "token", "secret", "pass", "api_key", "_id", "next_", "aws_",
	"sm_sat_", "tk-us-", "Q~", "2Q~", "algolia", "twitter", "fio-u-", "4f9d0c7be1a85236d90b7ce84f1a3d62", "-us18",
	"[REDACTED:", "[REDACTED:jwt]", "[REDACTED:password_assignment]", "changeme", "xxxx", "...", "${x}",
}

// FuzzPieces is FuzzRedact over joined pieces; each byte picks one.
func FuzzPieces(f *testing.F) {
	f.Add([]byte{0, 40, 3, 41, 60})
	f.Fuzz(func(t *testing.T, picks []byte) {
		var s strings.Builder
		for _, p := range picks[:min(len(picks), 64)] {
			s.WriteString(pieces[int(p)%len(pieces)])
		}
		checkRedaction(t, s.String())
	})
}
