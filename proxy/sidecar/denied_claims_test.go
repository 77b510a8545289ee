package sidecar

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// claimRow is an answer of an issuer, by the token that asks for it.
type claimRow struct {
	name, answer string
	refusal
}

// The clock of the rigs stands at 1795435200.
var claimAnswers = []claimRow{
	{"inactive", `{"active":false}`, badToken},
	{"inactive with claims", `{"active":false,"sub":"alice","aud":"doc-server"}`, badToken},
	{"no verdict", `{"sub":"alice","aud":"doc-server"}`, badToken},
	{"no subject", `{"active":true,"aud":"doc-server"}`, badToken},
	{"other issuer", `{"active":true,"sub":"alice","aud":"doc-server","iss":"https://other.example"}`, badToken},
	{"no audience", `{"active":true,"sub":"alice"}`, unauthorized(`token has no audience (expected "doc-server")`, "token audience is not accepted")},
	{"empty audience", `{"active":true,"sub":"alice","aud":[]}`, unauthorized(`token has no audience (expected "doc-server")`, "token audience is not accepted")},
	{"other audience", `{"active":true,"sub":"alice","aud":"other-service"}`, unauthorized(`token audience "other-service" is not accepted (expected "doc-server")`, "token audience is not accepted")},
	{"several other audiences", `{"active":true,"sub":"alice","aud":["a","b"]}`, unauthorized(`token audience "a", "b" is not accepted (expected "doc-server")`, "token audience is not accepted")},
	{"audience with our name in it", `{"active":true,"sub":"alice","aud":"doc-server-2"}`, unauthorized(`token audience "doc-server-2" is not accepted (expected "doc-server")`, "token audience is not accepted")},
	{"audience that breaks a header", `{"active":true,"sub":"alice","aud":"a\"\r\nX: 1"}`, unauthorized(`token audience "a\"\r\nX: 1" is not accepted (expected "doc-server")`, "token audience is not accepted")},
	{"long audience", `{"active":true,"sub":"alice","aud":"` + strings.Repeat("a", 65) + `"}`, unauthorized(`token audience "`+strings.Repeat("a", 64)+`" is not accepted (expected "doc-server")`, "token audience is not accepted")},
	{"expired", `{"active":true,"sub":"alice","aud":"doc-server","exp":1795435199}`, unauthorized("token expired", "token expired")},
	{"expires now", `{"active":true,"sub":"alice","aud":"doc-server","exp":1795435200}`, unauthorized("token expired", "token expired")},
	{"expired before all time", `{"active":true,"sub":"alice","aud":"doc-server","exp":-1}`, unauthorized("token expired", "token expired")},
	{"not valid yet", `{"active":true,"sub":"alice","aud":"doc-server","nbf":1795435201}`, unauthorized("token is not valid yet", "token is not valid yet")},
	{"bound to a key", `{"active":true,"sub":"alice","aud":"doc-server","cnf":{"jkt":"x"}}`, badToken},
	{"DPoP", `{"active":true,"sub":"alice","aud":"doc-server","token_type":"DPoP"}`, badToken},
	{"the issuer answers 500", `500`, dependency},
	{"the issuer answers 401", `401`, dependency},
	{"the issuer redirects", `302`, dependency},
	{"the issuer answers in HTML", `<html>`, dependency},
	{"the issuer answers nothing", ``, dependency},
	{"the issuer answers garbage", `{"active":tru`, dependency},
	{"the issuer answers a list", `[{"active":true,"sub":"alice","aud":"doc-server"}]`, dependency},
	{"the issuer contradicts itself", `{"active":false,"active":true,"sub":"alice","aud":"doc-server"}`, dependency},
	{"truth as text", `{"active":"true","sub":"alice","aud":"doc-server"}`, dependency},
	{"audience as object", `{"active":true,"sub":"alice","aud":{"doc-server":true}}`, dependency},
	{"expiry as text", `{"active":true,"sub":"alice","aud":"doc-server","exp":"never"}`, dependency},
	{"an answer above 1 MiB", `{"active":true,"sub":"alice","aud":"doc-server","x":"` + strings.Repeat("a", 1<<20) + `"}`, dependency},
	{"the issuer hangs up", `hang up`, dependency},
}

var dependency = refusal{status: 503, code: 50300, text: "temporarily unavailable (audit $AUDIT)", outcome: "unavailable", stage: "authenticate", reason: "authentication"}

func claimToken(i int, rev string) string {
	return fmt.Sprintf("claim-token-%02d-for-%s-padding", i, rev)
}

func claimRows() []denial {
	rows := make([]denial, len(claimAnswers))
	for i, c := range claimAnswers {
		rows[i] = denial{name: c.name, refusal: c.refusal, ask: func(r *rig, rev, id string) ask {
			if c.refusal == dependency {
				r.clock.advance(2 * time.Second) // so long after a failure the issuer is asked again
			}
			return toolCall(rev, claimToken(i, rev), id, "read_document", `{"id":1}`)
		}}
	}
	return rows
}

// claims is an issuer that answers as claimAnswers says.
func claims(w http.ResponseWriter, r *http.Request) {
	token := r.PostFormValue("token")
	answer := ""
	for i, c := range claimAnswers {
		if token == claimToken(i, modern) || token == claimToken(i, legacy) {
			answer = c.answer
		}
	}
	switch answer {
	case "500", "401":
		answerJSON(w, map[string]int{"500": 500, "401": 401}[answer], `{"active":true,"sub":"alice","aud":"doc-server"}`)
	case "302":
		w.Header().Set("Location", "/elsewhere")
		answerJSON(w, http.StatusFound, `{"active":true,"sub":"alice","aud":"doc-server"}`)
	case "<html>":
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`{"active":true,"sub":"alice","aud":"doc-server"}`))
	case "hang up":
		panic(http.ErrAbortHandler)
	default:
		answerJSON(w, http.StatusOK, answer)
	}
}

// weird is a token that has every character that encodings change.
const weird = "Zm9v+Ymf/Q~x.y_w-8d7K2mP/9+tQwErT=="

// weirdToken is an issuer that knows this one token, and that it is alice's.
func weirdToken(w http.ResponseWriter, r *http.Request) {
	answerJSON(w, http.StatusOK, fmt.Sprintf(`{"active":%t,"sub":"alice","client_id":"cli","aud":"doc-server","scope":"documents:*"}`, r.PostFormValue("token") == weird))
}

func credentialRows() []denial {
	with := func(args string) func(*rig, string, string) ask {
		return func(_ *rig, rev, id string) ask { return toolCall(rev, weird, id, "read_document", args) }
	}
	aligned := func(prefix string) string { return base64.StdEncoding.EncodeToString([]byte(prefix + weird + "tail")) }
	rows := []denial{
		{name: "argument", ask: with(`{"id":"` + weird + `"}`)},
		{name: "inside a text", ask: with(`{"id":"use ` + weird + ` please"}`)},
		{name: "nested", ask: with(`{"a":{"b":[1,[{"c":"` + weird + `"}]]}}`)},
		{name: "member name", ask: with(`{"a":{"` + weird + `":1}}`)},
		{name: "escaped", ask: with(`{"id":"` + strings.ReplaceAll(weird, "/", `\/`) + `"}`)},
		{name: "escaped letter", ask: with(`{"id":"\u005a` + weird[1:] + `"}`)},
		{name: "Base64", ask: with(`{"id":"` + aligned("") + `"}`)},
		{name: "Base64 shifted by one", ask: with(`{"id":"` + aligned("x") + `"}`)},
		{name: "Base64 shifted by two", ask: with(`{"id":"` + aligned("xy") + `"}`)},
		{name: "Base64 for URLs", ask: with(`{"id":"` + base64.URLEncoding.EncodeToString([]byte("Bearer "+weird)) + `"}`)},
		{name: "percent-encoded", ask: with(`{"id":"https://example.com/?t=` + url.QueryEscape(weird) + `"}`)},
		{name: "percent-encoded in lower case", ask: with(`{"id":"https://example.com/?t=` + strings.NewReplacer("+", "%2b", "/", "%2f", "=", "%3d").Replace(weird) + `"}`)},
		{name: "every byte percent-encoded", ask: with(`{"id":"` + percentAll(weird) + `"}`)},
		{name: "metadata", ask: func(_ *rig, rev, id string) ask {
			a := toolCall(rev, weird, id, "read_document", `{"id":1}`)
			if rev == modern {
				a.body = strings.Replace(a.body, `"_meta":{`, `"_meta":{"x/trace":"`+weird+`",`, 1)
			} else {
				a.body = strings.Replace(a.body, `"name":`, `"_meta":{"x/trace":"`+weird+`"},"name":`, 1)
			}
			return a
		}},
		{name: "unknown member of params", ask: func(_ *rig, rev, id string) ask {
			a := toolCall(rev, weird, id, "read_document", `{"id":1}`)
			a.body = strings.Replace(a.body, `"name":`, `"x":"`+weird+`","name":`, 1)
			return a
		}},
		{name: "unknown member of the message", ask: func(_ *rig, rev, id string) ask {
			a := toolCall(rev, weird, id, "read_document", `{"id":1}`)
			a.body = strings.Replace(a.body, `"method":`, `"x":"`+weird+`","method":`, 1)
			return a
		}},
	}
	for i := range rows {
		rows[i].refusal = carried
	}
	return append(rows, denial{name: "request id", refusal: carried.withID("null"), ask: func(_ *rig, rev, _ string) ask {
		return toolCall(rev, weird, `"`+weird+`"`, "read_document", `{"id":1}`)
	}})
}

func percentAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}
