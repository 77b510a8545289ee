package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"mcp-sidecar/proxy/config"
	"mcp-sidecar/proxy/sidecar"
)

// Bounds of a probe.
const (
	healthTime = 3 * time.Second
	healthSize = 64 << 10 // bytes of the answer
)

type healthFlags struct {
	url, file string
	live      bool
	asJSON    bool
}

func healthcheckCommand(io Streams) *cobra.Command {
	var f healthFlags
	c := &cobra.Command{
		Use:   "healthcheck [--url URL | -c FILE]",
		Short: "Ask a running sidecar whether it is ready: a probe for containers",
		Long: `healthcheck asks /readyz of a sidecar that runs beside it, and says what is missing.
It finds the address in FILE (or in the file that SIDECAR_CONFIG names), under
diagnostics, and otherwise asks http://127.0.0.1:9464.

Exit codes: 0 ready · 2 usage · 3 configuration invalid, or without diagnostics ·
4 not ready, or not reached within 3 seconds.`,
		Example: `  mcp-sidecar healthcheck -c sidecar.yaml
  HEALTHCHECK CMD ["mcp-sidecar", "healthcheck"]`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), io) },
	}
	flags := c.Flags()
	flags.StringVar(&f.url, "url", "", "`URL` of the listener for probes; plain http on loopback only")
	flags.StringVarP(&f.file, "config", "c", "", "configuration `FILE` of the sidecar (default from SIDECAR_CONFIG)")
	flags.BoolVar(&f.live, "live", false, "ask /livez: is the process there, whatever it waits for")
	flags.BoolVar(&f.asJSON, "json", false, "print the answer as JSON")
	c.MarkFlagsMutuallyExclusive("url", "config")
	return c
}

func (f healthFlags) run(ctx context.Context, io Streams) error {
	target, trust, err := f.target()
	if err != nil {
		return err
	}
	h := ask(ctx, target, trust, healthTime)
	switch {
	case f.asJSON:
		if err := json.NewEncoder(io.Out).Encode(h); err != nil {
			return exit(ExitFailure, err)
		}
	case h.OK:
		_, _ = fmt.Fprintln(io.Out, "ok")
	}
	if !h.OK {
		return exit(ExitDown, errors.New(h.said()))
	}
	return nil
}

// health is what came of a probe.
type health struct {
	Version int      `json:"version"`
	URL     string   `json:"url"`
	OK      bool     `json:"ok"`
	Status  int      `json:"status,omitempty"`  // HTTP; 0 when there was no answer
	Missing []string `json:"missing,omitempty"` // what keeps it from being ready
	Error   string   `json:"error,omitempty"`
}

func (h health) said() string {
	switch {
	case h.Error != "":
		return h.Error
	case len(h.Missing) > 0:
		return "not ready: " + strings.Join(h.Missing, "; ")
	}
	return fmt.Sprintf("%s answered %d", h.URL, h.Status)
}

// target is where to ask, and what to trust there; nil means what the system
// trusts.
func (f healthFlags) target() (string, *tls.Config, error) {
	path := sidecar.ReadyPath
	if f.live {
		path = sidecar.LivePath
	}
	if f.url != "" {
		base, err := probeBase(f.url)
		return base + path, nil, err
	}
	file := cmp.Or(f.file, os.Getenv("SIDECAR_CONFIG"))
	if file == "" {
		return "http://" + config.DefaultDiagnostics + path, nil, nil
	}
	cfg, err := config.Load(file)
	if err == nil {
		err = diagnosticsProblem(cfg)
	}
	if err != nil {
		return "", nil, exit(ExitConfig, err)
	}
	address, err := reachable(cfg.Diagnostics.Address())
	if err != nil {
		return "", nil, exit(ExitConfig, err)
	}
	if !cfg.OverTLS() {
		return "http://" + address + path, nil, nil
	}
	trust, err := onlyCertificate(cfg.Resolve(cfg.TLS.CertFile))
	if err != nil {
		return "", nil, exit(ExitConfig, err)
	}
	return "https://" + address + path, trust, nil
}

// probeBase accepts an origin. In plain text only this host can be asked: the
// answer of another could come from anybody.
func probeBase(raw string) (string, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil:
		return "", errors.New("--url must be such as http://127.0.0.1:9464")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("--url must end after the host and port; the probe adds the path")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return "", errors.New("--url must be https; http is for loopback only")
	}
	return u.Scheme + "://" + u.Host, nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && a.Unmap().IsLoopback()
}

// diagnosticsProblem is what keeps the configuration from saying where probes
// are answered. The rest of it may be completed by flags that are not known here.
func diagnosticsProblem(cfg *config.Config) error {
	if cfg.Diagnostics == nil {
		return errors.New("the configuration opens no listener for probes; add diagnostics: {}")
	}
	var problems config.Errors
	for _, p := range cfg.Validate() {
		if strings.HasPrefix(p.Path, "diagnostics") || strings.HasPrefix(p.Path, "tls") {
			problems = append(problems, p)
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// reachable turns an address to listen on into one to ask.
func reachable(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", errors.New("diagnostics.listen takes any free port; give it one, or the probe a --url")
	}
	switch a, err := netip.ParseAddr(host); {
	case host == "" || err == nil && a.Unmap() == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case err == nil && a.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// onlyCertificate trusts whoever shows the certificate in file. Its name is that
// of the endpoint and not the address that is asked, so it is compared as a whole.
func onlyCertificate(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("tls.cert_file: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("tls.cert_file: %s holds no certificate", file)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // verified below, by the whole certificate
		VerifyConnection: func(state tls.ConnectionState) error { // resumed sessions included
			if len(state.PeerCertificates) == 0 || !bytes.Equal(state.PeerCertificates[0].Raw, block.Bytes) {
				return errors.New("the certificate is not the one in tls.cert_file")
			}
			return nil
		},
	}, nil
}

// ask sends one probe. It follows no redirect and asks no proxy: what answers
// must be the sidecar itself.
func ask(ctx context.Context, target string, trust *tls.Config, limit time.Duration) health {
	h := health{Version: 1, URL: target}
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true, TLSClientConfig: trust}
	client := &http.Client{
		Transport: transport, Timeout: limit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		h.Error = err.Error()
		return h
	}
	resp, err := client.Do(req)
	if err != nil {
		h.Error = err.Error()
		return h
	}
	defer resp.Body.Close()
	h.Status, h.OK = resp.StatusCode, resp.StatusCode == http.StatusOK
	body, err := io.ReadAll(io.LimitReader(resp.Body, healthSize))
	if err != nil {
		h.OK, h.Error = false, err.Error()
		return h
	}
	if !h.OK {
		h.Missing = missing(body)
	}
	return h
}

// missing reads what a sidecar says. Whatever else listens there may say what it
// likes, so it is shown as text and nothing more.
func missing(body []byte) []string {
	var state sidecar.Readiness
	if json.Unmarshal(body, &state) != nil {
		return nil
	}
	var lines []string
	for _, c := range state.Checks {
		if !c.OK {
			lines = append(lines, strings.Map(printable, c.Name+" "+c.Why))
		}
	}
	return lines
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}
