package secrets

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkFind measures texts of 1, 10 and 100 KB: prose without a word of
// any rule, prose about the subject, and secrets end to end.
func BenchmarkFind(b *testing.B) {
	texts := []struct{ name, text string }{
		{"benign", "A quiet river runs down from the hills and joins its brothers in the broad plain below. "},
		{"subject", "Clients send the access token in the Authorization header, see https://example.com/spec. "},
		{"json", `{"id":"24b6e7b1-c1e3-4c4e-8826-2938e25f9bda","size":1024,"tags":["a","b"],"note":"none"},`},
		{"vendors", "Deploy to Heroku or Netlify, ask the Twitter and Discord bots, see Sentry, Datadog and the linear path of the tasks. "},
		{"hostile vendors", "tk-us-EAAA-twitter=dropbox=_mmk fo1_pat-"},
		{"hostile", "password=token=sk-a://b:c/eyJhbGciOiJI.bearer "},
		{"secrets", "key " + awsID + " db postgres://a:b@c/d PASSWORD=hunter22 "},
	}
	for _, tt := range texts {
		for _, size := range []int{1 << 10, 10 << 10, 100 << 10} {
			text := strings.Repeat(tt.text, size/len(tt.text)+1)[:size]
			b.Run(fmt.Sprintf("%s/%dKB", tt.name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					Find(text)
				}
			})
		}
	}
}
