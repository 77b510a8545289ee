package cli

import (
	"bytes"
	"strings"
	"testing"
)

// What is printed is the hash of the token and of nothing around it. The token
// itself is never shown.
func TestTokenHash(t *testing.T) {
	const token = "static-token-of-alice"
	const hash = "cff9660d72e4e449ceb1d534505a392059210b5fc8f2fdbef5e635576d2ab742\n"
	for _, row := range []struct {
		name, in string
		args     []string
		code     int
		out      string
	}{
		{"token", token, nil, ExitOK, hash},
		{"line", token + "\r\n", nil, ExitOK, hash},
		{"nothing", "", nil, ExitUsage, ""},
		{"two lines", token + "\n" + token, nil, ExitUsage, ""},
		{"illegal characters", token + "\"", nil, ExitUsage, ""},
		{"short", "19-characters-canar", nil, ExitUsage, ""},
		{"on the command line", "", []string{token}, ExitUsage, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			code := Run(t.Context(), append([]string{"token", "hash"}, row.args...), Streams{In: strings.NewReader(row.in), Out: &out, Err: &stderr})
			if code != row.code || out.String() != row.out {
				t.Errorf("exit %d, %q, want %d, %q; %s", code, out.String(), row.code, row.out, stderr.String())
			}
			if row.args == nil && (strings.Contains(stderr.String(), token) || strings.Contains(stderr.String(), "canar")) {
				t.Errorf("the token is shown: %s", stderr.String())
			}
		})
	}
	if got := run(t, "token"); got.code != ExitOK || !strings.Contains(got.out, "hash") {
		t.Errorf("help: %+v", got)
	}
}
