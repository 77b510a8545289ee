package canary

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const opaque = "Zm9v+Ymf/Q~x.y_w-8d7K2mP/9+tQwErT=="

// signed returns a token with the shape of a JWT.
func signed(id, signature string) string {
	segment := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return segment(`{"alg":"ES256","typ":"at+jwt"}`) + "." + segment(`{"iss":"https://idp.example","sub":"alice","jti":"`+id+`"}`) + "." + segment(signature)
}

var (
	jti       = "4f1d2c3b-aa55-47e1-9b0e-77d3c1f20a66"
	signature = "\xfb\xef\xbe\x01\x17\x99sixty-four bytes of a signature, which are not text\x80\xff\xfe\xfd\xfc"
	jwt       = signed(jti, signature)
)

func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

func escapes(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\u%04X`, s[i])
	}
	return b.String()
}

func TestSearch(t *testing.T) {
	end := jwt[strings.LastIndexByte(jwt, '.')+1:]
	for _, row := range []struct {
		name, text string
		want       bool
	}{
		{"raw", "x " + opaque + " y", true},
		{"12 bytes", "x" + opaque[5:17] + "y", true},
		{"11 bytes", "x" + opaque[5:16] + "!", false},
		{"Base64", base64.StdEncoding.EncodeToString([]byte(opaque)), true},
		{"Base64, shifted by one", base64.StdEncoding.EncodeToString([]byte("x" + opaque)), true},
		{"Base64, shifted by two", base64.RawStdEncoding.EncodeToString([]byte("xy" + opaque)), true},
		{"Base64 for URLs", base64.URLEncoding.EncodeToString([]byte("Bearer " + opaque)), true},
		{"Base64 of a piece", base64.StdEncoding.EncodeToString([]byte(opaque[7:21])), true},
		{"URL-encoded", url.QueryEscape(opaque), true},
		{"URL-encoded piece", url.QueryEscape(opaque[2:15]), true},
		{"every byte percent-encoded", percent(opaque), true},
		{"escaped slashes", strings.ReplaceAll(opaque, "/", `\/`), true},
		{"every byte escaped", escapes(opaque), true},
		{"nothing", "Zm9v+Ymf/Q, y_w-8d7K2mP %41 \\u0041 \\", false},
		{"empty", "", false},
		{"signed token", jwt, true},
		{"its header", jwt[:strings.IndexByte(jwt, '.')], false},
		{"its claims, which hold its id", jwt[:strings.LastIndexByte(jwt, '.')], true},
		{"its signature", end, true},
		{"12 bytes of its signature", end[30:42], true},
		{"its signature in the other alphabet", base64.StdEncoding.EncodeToString([]byte(signature)), true},
		{"its id", "jti=" + jti, true},
		{"12 bytes of its id", jti[20:32], true},
		{"its id in Base64", base64.StdEncoding.EncodeToString([]byte(`{"jti":"` + jti)), true},
		{"another's", signed("another-id-than-that", "another signature than that"), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var w Watch
			w.Add("opaque", opaque)
			w.Add("jwt", jwt)
			if found := w.Search([]byte(row.text)); (len(found) > 0) != row.want {
				t.Errorf("found %v in %q", found, row.text)
			}
		})
	}
}

// What is no signed token is secret as a whole, dots included.
func TestSecretParts(t *testing.T) {
	end := jwt[strings.LastIndexByte(jwt, '.')+1:]
	for _, row := range []struct {
		credential string
		want       []string
	}{
		{opaque, []string{opaque}},
		{"a.b.c", []string{"a.b.c"}},
		{"aGk.aGk.aGk", []string{"aGk.aGk.aGk"}},
		{jwt, []string{"", jti, end}},
		{jwt + "." + end, []string{"", jti, end, end}},
		{"AAAA" + jwt[strings.IndexByte(jwt, '.'):], []string{"AAAA", jti, end}},
	} {
		if got := secretParts(row.credential); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.credential, got, row.want)
		}
	}
}

// Each credential is named once, however often it occurs.
func TestNames(t *testing.T) {
	var w Watch
	if found := w.Search([]byte(opaque)); found != nil {
		t.Errorf("found %v before anything was added", found)
	}
	w.Add("opaque", opaque)
	w.Add("opaque again", opaque)
	w.Add("jwt", jwt)
	w.Add("padding", strings.Repeat("A", 64))
	found := w.Search([]byte(opaque + jwt + opaque + strings.Repeat("A", 64)))
	if len(found) != 2 || found[0] != (Find{"opaque", 0}) || found[1].Name != "jwt" {
		t.Errorf("%+v", found)
	}
}

// No planted credential survives, whatever stands around it.
func FuzzSearch(f *testing.F) {
	f.Add([]byte("before"), []byte("after"), uint8(0), uint8(3))
	f.Add([]byte(`%41\u00`), []byte("%"), uint8(3), uint8(0))
	f.Fuzz(func(t *testing.T, before, after []byte, form, from uint8) {
		piece := opaque[int(from)%(len(opaque)-size-2):]
		switch form % 5 {
		case 1:
			before, piece = nil, base64.StdEncoding.EncodeToString([]byte(string(before)+piece))
		case 2:
			before, piece = nil, base64.URLEncoding.EncodeToString([]byte(string(before)+piece))
		case 3:
			piece = percent(piece)
		case 4:
			piece = escapes(piece)
		}
		// An escape in front that is not complete would take a part of the piece.
		text := bytes.Join([][]byte{before, []byte(piece), after}, []byte("\n      "))
		var w Watch
		w.Add("opaque", opaque)
		if found := w.Search(text); len(found) != 1 {
			t.Errorf("found %v in %q", found, text)
		}
	})
}

func BenchmarkSearch(b *testing.B) {
	var w Watch
	for range 2000 {
		w.Add("random", rand.Text())
	}
	text := []byte(strings.Repeat(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}`+"\n", 1<<14))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if found := w.Search(text); found != nil {
			b.Fatal(found)
		}
	}
}
