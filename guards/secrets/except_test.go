package secrets

import (
	"encoding/base64"
	"slices"
	"testing"

	"mcp-sidecar/guards"
)

// A secret whose rule is excepted is read over; it does not cover others, encoded or not.
func TestExcept(t *testing.T) {
	const aws = "AKIA" + "QYLPMN5HHHFPZAM2"
	const own = "credential-of-the-program"
	url := "postgres://app:hunter22@db.example/app?key=" + aws
	for _, row := range []struct {
		name, text string
		rule       string // excepted
		want       []string
	}{
		{"plain", "key " + aws, "aws_access_key", nil},
		{"another rule", "key " + aws, "jwt", []string{"aws_access_key"}},
		{"inside one that is excepted", url, "connection_string", []string{"aws_access_key"}},
		{"gitleaks", "algolia = 4f9d0c7be1a85236d90b7ce84f1a3d62", "algolia_api_key", nil},
		{"encoded", base64.StdEncoding.EncodeToString([]byte("key " + aws + " of the bucket")), "aws_access_key", nil},
		{"encoded, another in it", base64.StdEncoding.EncodeToString([]byte("url " + url)), "connection_string", []string{"aws_access_key"}},
		{"the program's own", "postgres://app:" + own + "@db.example/app", "connection_string", []string{"credential"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			used := false
			found := Guard{}.Find(guards.Text{Value: row.text, Own: []string{own}, Except: func(rule string) bool {
				used = used || rule == row.rule
				return rule == row.rule
			}})
			var got []string
			for _, f := range found {
				got = append(got, f.Rule)
			}
			if !slices.Equal(got, row.want) || used != (row.rule != "jwt") {
				t.Errorf("found %q, want %q; excepted: %t", got, row.want, used)
			}
		})
	}
}
