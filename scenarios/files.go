package main

import (
	"crypto/rand"
	_ "embed" // sidecar.yaml and policy.csv
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files in the work folder.
const (
	caFile         = "ca.pem"               // root of the fakes, for docserver --ca-file
	caKeyFile      = "ca-key.pem"           // its key
	hostsFile      = "hosts.map"            // for docserver --hosts
	serviceFile    = "service.token"        // the sidecar's credential at the document server
	introspectFile = "introspection.secret" // the sidecar's secret at the issuer
	policyFile     = "policy.csv"
	revokedFile    = "revoked"
	configFile     = "sidecar.yaml"
	httpConfigFile = "sidecar-http.yaml" // with --transport stdio: of the sidecar for trials that need HTTP
	auditFile      = "audit.jsonl"
	httpAuditFile  = "audit-http.jsonl"
	loginConfig    = "sidecar-login.yaml"  // of the sidecar at which clients log in
	brokerConfig   = "sidecar-broker.yaml" // of the sidecar in front of a third party
	secondConfig   = "sidecar-second.yaml" // of a second sidecar that goes by the same policy
	egressConfig   = "sidecar-egress.yaml" // of the sidecar whose server has an egress proxy
	outsideFile    = "outside.txt"         // outside the folders that the document servers work in
	operatorFile   = "operator.yaml"       // for policy apply
	rowsFile       = "rows.csv"            // that policy apply puts in the policy's place
	brokerKeyFile  = "broker.key"          // encrypts what that sidecar keeps
)

var (
	//go:embed sidecar.yaml
	exampleConfig string

	//go:embed policy.csv
	examplePolicy string
)

// Addresses in sidecar.yaml that the demo replaces.
const (
	exampleListen   = "listen: 127.0.0.1:8811"
	exampleIssuer   = "http://127.0.0.1:9000"
	exampleUpstream = "http://127.0.0.1:9001/mcp"
	exampleAudit    = "file: " + auditFile
	exampleState    = "state_dir: state"
	examplePolicyAt = "policy:\n  file: " + policyFile + "\n"
	exampleDNS      = "dns:\n"
	exampleAudience = "  audience: [doc-server]\n"
	exampleHeader   = "    url: " + exampleUpstream + `
    credential:
      kind: header
      header: Authorization
      prefix: "Bearer "
`
)

// folder is the work folder: everything that the programs read and write.
type folder string

// newFolder makes dir if need be; without one it makes a temporary folder. The
// path is absolute, since it goes to programs that run elsewhere.
func newFolder(dir string) (folder, error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "mcp-sidecar-scenarios-")
		return folder(dir), err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return folder(dir), os.MkdirAll(dir, 0o700)
}

func (f folder) path(name string) string { return filepath.Join(string(f), name) }

// write makes a file that only this user can read: most hold a secret.
func (f folder) write(name string, text []byte) error {
	return os.WriteFile(f.path(name), text, 0o600)
}

// secret returns what the file holds, or a new secret that it holds from now on.
func (f folder) secret(name string) (string, error) {
	text, err := os.ReadFile(f.path(name))
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	secret := rand.Text()
	return secret, f.write(name, []byte(secret+"\n"))
}

// authority returns the CA that the folder holds, or a new one.
func (f folder) authority() (*authority, error) {
	cert, err := os.ReadFile(f.path(caFile))
	if err == nil {
		key, err := os.ReadFile(f.path(caKeyFile))
		if err != nil {
			return nil, err
		}
		return loadAuthority(cert, key)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	key, err := ca.keyPEM()
	if err != nil {
		return nil, err
	}
	return ca, errors.Join(f.write(caKeyFile, key), f.write(caFile, ca.certPEM()))
}

// config writes the policy, an empty list of revoked tokens if there is none, and, as name, the sidecar's configuration with real
// addresses.
func (f folder) config(name, listen, issuerURL string, more ...replacement) error {
	text, err := fillConfig(listen, issuerURL, more...)
	if err != nil {
		return err
	}
	if _, err := os.Stat(f.path(revokedFile)); errors.Is(err, fs.ErrNotExist) {
		if err := f.write(revokedFile, nil); err != nil {
			return err
		}
	}
	return errors.Join(f.write(policyFile, []byte(examplePolicy)), f.write(name, []byte(text)))
}

// replacement is a text of the example and what takes its place.
type replacement struct{ from, to string }

// atURL says where the document server is.
func atURL(url string) replacement { return replacement{exampleUpstream, url} }

// startedBy says how the sidecar starts the document server, which then serves all
// users and is shown the service credential in its environment.
func startedBy(command []string) replacement {
	list, _ := json.Marshal(command) // is YAML, too
	return replacement{exampleHeader, fmt.Sprintf("    command: %s\n    shared: true\n    credential:\n      kind: env\n      variable: DOCSERVER_SERVICE_TOKEN\n", list)}
}

// apart keeps a second sidecar's files from being those of the first.
func apart() []replacement {
	return []replacement{{exampleAudit, "file: " + httpAuditFile}, {exampleState, exampleState + "-http"}}
}

// atAddress lets tokens be meant for the sidecar's own address, which is what clients
// ask for that log in (RFC 8707). Its files have name in theirs.
func atAddress(public, name string) []replacement {
	return []replacement{
		{exampleAudience, ""}, {exampleAudit, "file: " + auditOf(name)}, {exampleState, exampleState + "-" + name + "\npublic_url: " + public},
	}
}

func auditOf(name string) string { return "audit-" + name + ".jsonl" }

// behindVendor lets the sidecar get the token that the server at url wants, from the
// third party at vendor, for whoever logs in at the issuer.
func behindVendor(url, vendor, issuerURL string) []replacement {
	provider := fmt.Sprintf("    url: %s\n    broker: { authorize_url: %q, token_url: %q, client_id: %s, allow_loopback_http: true }\n", url, vendor+"/authorize", vendor+"/token", sidecarClient)
	own := fmt.Sprintf("version: 1\nbroker:\n  login: { issuer: %q, client_id: %s, allow_loopback_http: true }\n  key_file: %s\n  dynamic_registration: true\n"+
		"  clients: [{ id: %s, name: %s, redirect_uris: [%q] }]\n", issuerURL, sidecarClient, brokerKeyFile, desktopID, desktopName, desktopURL)
	return []replacement{{exampleHeader + "      file: " + serviceFile + "\n", provider}, {"version: 1\n", own}}
}

// fillConfig fails when the example no longer holds what it is to replace.
func fillConfig(listen, issuerURL string, more ...replacement) (string, error) {
	text := exampleConfig
	for _, r := range append([]replacement{{exampleListen, "listen: " + listen}, {exampleIssuer, issuerURL}}, more...) {
		if !strings.Contains(text, r.from) {
			return "", fmt.Errorf("sidecar.yaml does not hold %q", r.from)
		}
		text = strings.ReplaceAll(text, r.from, r.to)
	}
	return text, nil
}
