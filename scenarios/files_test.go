package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/config"
)

func TestExampleConfigIsValid(t *testing.T) {
	cfg, err := config.Load("sidecar.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	for name := range cfg.Tools {
		if !strings.HasPrefix(name, "docs/") {
			t.Errorf("tool %q is not one of docs", name)
		}
	}
	if len(cfg.Tools) != len(toolNames) {
		t.Errorf("%d tools, want %d", len(cfg.Tools), len(toolNames))
	}
}

func TestExamplePolicyIsValid(t *testing.T) {
	if _, err := policy.LoadFile("policy.csv", nil); err != nil {
		t.Fatal(err)
	}
}

func TestFillConfig(t *testing.T) {
	text, err := fillConfig("127.0.0.1:0", "http://127.0.0.1:1111", atURL("http://127.0.0.1:2222/mcp"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nlisten: 127.0.0.1:0\n",
		"issuer: http://127.0.0.1:1111\n",
		"url: http://127.0.0.1:1111/introspect\n",
		"url: http://127.0.0.1:2222/mcp\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("config lacks %q", want)
		}
	}
	for _, example := range []string{exampleListen, exampleIssuer, exampleUpstream} {
		if strings.Contains(text, example) {
			t.Errorf("config still holds %q", example)
		}
	}
}

// The configuration of --transport stdio is valid too, and holds no address of the
// document server's.
func TestFillConfigWithCommand(t *testing.T) {
	command := []string{"/some where/scenarios", "record", `a"b: {c}`}
	text, err := fillConfig("127.0.0.1:0", "http://127.0.0.1:1111", startedBy(command))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("sidecar.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	docs := cfg.Upstreams["docs"]
	if !slices.Equal(docs.Command, command) || docs.URL != "" || !docs.Shared || docs.Credential.Kind != config.CredentialEnv || docs.Credential.File != serviceFile {
		t.Errorf("%+v", docs)
	}
}

func TestFolderKeepsSecrets(t *testing.T) {
	f, err := newFolder(filepath.Join(t.TempDir(), "new"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := f.secret(serviceFile)
	if err != nil || len(first) < 26 {
		t.Fatalf("secret %q, %v", first, err)
	}
	again, err := f.secret(serviceFile)
	if err != nil || again != first {
		t.Errorf("secret %q, then %q, %v", first, again, err)
	}
	if info, err := os.Stat(f.path(serviceFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secret file: %v, %v", info.Mode(), err)
	}
	ca, err := f.authority()
	if err != nil {
		t.Fatal(err)
	}
	same, err := f.authority()
	if err != nil || !same.key.Equal(ca.key) || !bytes.Equal(same.cert.Raw, ca.cert.Raw) {
		t.Errorf("the CA changed: %v", err)
	}
}

func TestAuthorityIssuesForOneHost(t *testing.T) {
	ca, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.issue(policyHost)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: policyHost, Roots: roots}); err != nil {
		t.Error(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: metadataHost, Roots: roots}); err == nil {
		t.Error("the certificate is good for another host")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: policyHost, Roots: x509.NewCertPool()}); err == nil {
		t.Error("the certificate is good without the CA")
	}
	if _, err := loadAuthority(ca.certPEM(), []byte("no key")); err == nil {
		t.Error("a CA without a key was loaded")
	}
	if _, err := tls.X509KeyPair(ca.certPEM(), nil); err == nil {
		t.Error("the public half holds the key")
	}
}
