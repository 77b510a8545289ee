package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestIssuerCommandExitCodes(t *testing.T) {
	busy, err := listen(t.Context(), anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, row := range []struct {
		name string
		args []string
		want int
		says string // on either output
	}{
		{"help", []string{"--help"}, exitOK, "--listen HOST:PORT"},
		{"unknown flag", []string{"--nonsense"}, exitUsage, "not defined"},
		{"argument", []string{"x"}, exitUsage, `unexpected argument "x"`},
		{"for the network", []string{"--listen", "0.0.0.0:9000"}, exitUsage, "want a loopback address"},
		{"address in use", []string{"--listen", busy.Addr().String()}, exitInUse, "issuer: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			var out bytes.Buffer
			if got := run(t.Context(), append([]string{issuerCommand}, row.args...), &out, &out); got != row.want || !strings.Contains(out.String(), row.says) {
				t.Errorf("exit code %d, want %d: %s", got, row.want, &out)
			}
		})
	}
}

// watched is a buffer that tells when something is written.
type watched struct {
	bytes.Buffer
	wrote chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	defer close(w.wrote)
	return w.Buffer.Write(p)
}

// The issuer answers where it says, with the secret that it names, and leaves nothing
// behind.
func TestIssuerCommand(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout bytes.Buffer
	stderr := &watched{wrote: make(chan struct{})}
	code := make(chan int)
	go func() { code <- run(ctx, []string{issuerCommand, "--listen", anyPort}, &stdout, stderr) }()
	<-stderr.wrote
	found := func(pattern string) string {
		m := regexp.MustCompile(pattern).FindStringSubmatch(stdout.String())
		if m == nil {
			t.Fatalf("stdout %q lacks %s", &stdout, pattern)
		}
		return m[1]
	}
	file := found(`client_secret_file: (\S+)`)
	secret, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, found(`url: (\S+)`), strings.NewReader("token=x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(introspectionClient, strings.TrimSpace(string(secret)))
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("introspection: %v %v", resp, err)
	}
	resp.Body.Close()
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d", got)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the secret is left behind")
	}
}
