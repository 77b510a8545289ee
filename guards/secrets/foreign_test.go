package secrets

import (
	"encoding/base64"
	"maps"
	"math/rand/v2"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/zricethezav/gitleaks/v8/config"
)

// sampleOf writes a text that an expression matches, as short as it may be.
func sampleOf(e *syntax.Regexp, r *rand.Rand) string {
	var b strings.Builder
	switch e.Op {
	case syntax.OpLiteral:
		literal := string(e.Rune)
		if e.Flags&syntax.FoldCase != 0 {
			literal = strings.ToLower(literal)
		}
		b.WriteString(literal)
	case syntax.OpCharClass:
		var letters, others []byte
		for c := byte(' '); c <= '~'; c++ {
			in := false
			for i := 0; i < len(e.Rune); i += 2 {
				in = in || e.Rune[i] <= rune(c) && rune(c) <= e.Rune[i+1]
			}
			if in && isAlnum(c) {
				letters = append(letters, c)
			} else if in {
				others = append(others, c)
			}
		}
		if len(letters) > 0 {
			others = letters
		}
		b.WriteByte(others[r.IntN(len(others))])
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "."
	case syntax.OpCapture, syntax.OpPlus:
		return sampleOf(e.Sub[0], r)
	case syntax.OpRepeat:
		for range e.Min {
			b.WriteString(sampleOf(e.Sub[0], r))
		}
	case syntax.OpConcat:
		for _, sub := range e.Sub {
			b.WriteString(sampleOf(sub, r))
		}
	case syntax.OpAlternate:
		return sampleOf(e.Sub[0], r)
	}
	return b.String()
}

// Every rule of gitleaks that is used finds what its expression describes, so that one that
// a later version writes otherwise is noticed.
func TestForeignRules(t *testing.T) {
	var file struct{ Rules []struct{ ID, Regex string } }
	if err := toml.Unmarshal([]byte(config.DefaultConfig), &file); err != nil || len(file.Rules) < 200 {
		t.Fatal(len(file.Rules), err)
	}
	never := []string{
		"asana-client-id", "discord-client-id", // numbers
		"slack-app-token", "slack-legacy-token", "slack-legacy-workspace-token", // the shortest are too short for ours
	}
	named := slices.Concat(unused, slices.Collect(maps.Keys(before)), never)
	r := rand.New(rand.NewPCG(1, 2))
	for _, rule := range file.Rules {
		named = slices.DeleteFunc(named, func(id string) bool { return id == rule.ID })
		if slices.Contains(unused, rule.ID) {
			continue
		}
		e, err := syntax.Parse(rule.Regex, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for range 20 {
			example := sampleOf(e, r)
			if least, most := bounds(e); len(example) < least || len(example) > most {
				t.Errorf("%s: %q is not between %d and %d bytes long", rule.ID, example, least, most)
			}
			if out, _ := Redact("It is " + example + "\n"); !strings.Contains(out, example) {
				found++
			}
		}
		if want := slices.Contains(never, rule.ID); want != (found == 0) || !want && found < 15 {
			t.Errorf("%s: found %d of 20", rule.ID, found)
		}
	}
	if len(named) > 0 {
		t.Errorf("rules that there are not: %q", named)
	}
}

func TestForeign(t *testing.T) {
	const hex32 = "4f9d0c7be1a85236d90b7ce84f1a3d62"
	for _, row := range []struct{ name, text, want string }{
		{"prefix", "use sm_sat_" + body36[:16] + ".", "use [REDACTED:settlemint_service_access_token]."},
		{"no tail survives", "shippo_live_" + hex32 + "0a1b2c3d4e5f", "shippo_live_" + hex32 + "0a1b2c3d4e5f"},
		{"of any length, all of it", "frame fio-u-" + hex32 + hex32 + "xyz end", "frame [REDACTED:frameio_api_token] end"},
		{"beside punctuation", "(pul-" + hex32 + "0a1b2c3d), <b>pul-" + hex32 + "0a1b2c3d</b>", "([REDACTED:pulumi_api_token]), <b>[REDACTED:pulumi_api_token]</b>"},
		{"prefix in another case", "SM_SAT_" + body36[:16], "SM_SAT_" + body36[:16]},
		{"inside a word", "xpul-" + hex32 + "0a1b2c3d", "xpul-" + hex32 + "0a1b2c3d"},
		{"keyword inside", `{"v":"Abcd` + `Q~` + body36[:32] + `"}`, `{"v":"Abcd` + `Q~` + body36[:32] + `"}`},
		{"keyword inside, whole", `{"v":"aB12` + `Q~` + body36[:32] + `"}`, `{"v":"[REDACTED:azure_ad_client_secret]"}`},
		{"behind one that is not", "Q~." + strings.Repeat("x", 300) + "=aB12Q~" + body36[:32] + " end", "Q~." + strings.Repeat("x", 300) + "=[REDACTED:azure_ad_client_secret] end"},
		{"named", "algolia = " + hex32, "algolia = [REDACTED:algolia_api_key]"},
		{"named, in JSON", `{"fastlyAdmin": "` + hex32 + `", "x": 1}`, `{"fastlyAdmin": "[REDACTED:fastly_api_token]", "x": 1}`},
		{"named in two words", "Finicity partner app: " + hex32, "Finicity partner app: [REDACTED:finicity_api_token]"},
		{"our own name stays", "algolia_api_key = " + hex32, "algolia_api_key = [REDACTED:password_assignment]"},
		{"our own form stays", "slack xoxb-9081726354-" + body36, "slack [REDACTED:slack_token]"},
		{"in base64", base64.StdEncoding.EncodeToString([]byte("algolia = " + hex32)), "[REDACTED:algolia_api_key]"},
		{"attributes", `<add key="ApiToken" value="` + hex32 + `" />`, `<add key="ApiToken" value="[REDACTED:password_assignment]" />`},
		{"attribute of an input", `<input name="password" value="hunter22">`, `<input name="password" value="[REDACTED:password_assignment]">`},

		{"word", "linkedin = internationalx", "linkedin = internationalx"},
		{"number", `"discord_channel": "261019393032339516"`, `"discord_channel": "261019393032339516"`},
		{"id", `"fastly_service_id": "` + hex32 + `"`, `"fastly_service_id": "` + hex32 + `"`},
		{"digest", "jfrog_sha256 = " + hex32 + hex32 + "\nfastlyEtag: " + hex32, "jfrog_sha256 = " + hex32 + hex32 + "\nfastlyEtag: " + hex32},
		{"placeholder", "algolia = your" + hex32[4:], "algolia = your" + hex32[4:]},
		{"the same over and over", "algolia = " + strings.Repeat("a1", 16), "algolia = " + strings.Repeat("a1", 16)},
		{"a name in another case", "sumObj = suGyI5imvADdvU", "sumObj = suGyI5imvADdvU"},
		{"a member", "s.makeKubeConfigController s.thisstringisalllowercase", "s.makeKubeConfigController s.thisstringisalllowercase"},
		{"commit", "sourcegraph.test/-/commit/" + hex32 + "0a1b2c3d", "sourcegraph.test/-/commit/" + hex32 + "0a1b2c3d"},
		{"beside a marker", "algolia = " + hex32 + "[REDACTED:jwt]", "algolia = " + hex32 + "[REDACTED:jwt]"},
		{"a marker's name", "[REDACTED:algolia_api_key] = " + hex32, "[REDACTED:algolia_api_key] = " + hex32},
		{"cut short", `api_token: "sm_sat_7x1k9w2m3q"`, `api_token: "sm_sat_7x1k9w2m3q"`},
		{"not cut short, longer than others", `api_token: "sm_sat_` + body36 + `"`, `api_token: "[REDACTED:password_assignment]"`},
		{"a password may start like a token", `password: "sm_sat_7x1k9w2m3q"`, `password: "[REDACTED:password_assignment]"`},
		{"qualified name", `token:"ns48767:AccessTokenContentType"`, `token:"ns48767:AccessTokenContentType"`},
		{"no qualified name", `token:"ns48767:AccessTokenContentType9"`, `token:"[REDACTED:password_assignment]"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, found := Redact(row.text)
			if got != row.want {
				t.Errorf("Redact(%q)\n got %q\nwant %q", row.text, got, row.want)
			}
			checkFindings(t, row.text, found)
			checkRedaction(t, row.text)
		})
	}
}
