package broker

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
)

// The rig sees 12 bytes of any secret wherever none may be, in any form.
func TestCanary(t *testing.T) {
	r := start(t)
	a := r.granted()
	if leaks := r.leaks(); leaks != nil {
		t.Fatal(leaks)
	}
	signature := a.Access[strings.LastIndexByte(a.Access, '.')+1:]
	third, login := r.third.tokens[0], r.login.tokens[0]
	for name, row := range map[string]struct {
		where *lockedBuffer
		text  string
	}{
		"third party's token, log":        {r.log, third},
		"a piece of it, browser":          {r.seen, third[len(third)-12:]},
		"in Base64, browser":              {r.seen, base64.StdEncoding.EncodeToString([]byte("x" + third))},
		"in a URL, login provider":        {&r.login.heard, url.QueryEscape("=" + third)},
		"at another third party":          {&r.other.heard, third},
		"login provider's token, browser": {r.seen, login},
		"at a third party":                {&r.third.heard, login},
		"our token, log":                  {r.log, signature[20:32]},
		"our token, third party":          {&r.third.heard, a.Access},
		"our refresh token, log":          {r.log, a.Refresh[4:16]},
		"a code, log":                     {r.log, r.third.given[0]},
		"the client's secret, log":        {r.log, ownSecret},
	} {
		row.where.mu.Lock()
		before := row.where.b.Len()
		row.where.mu.Unlock()
		_, _ = row.where.Write([]byte("\n" + row.text))
		if leaks := r.leaks(); len(leaks) != 1 {
			t.Errorf("%s: %q", name, leaks)
		}
		row.where.mu.Lock()
		row.where.b.Truncate(before)
		row.where.mu.Unlock()
	}
}
