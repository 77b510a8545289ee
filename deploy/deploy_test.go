// Package deploy holds what runs the project in containers; its tests hold that to what
// it promises, without a container engine.
package deploy

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/scenarios/pgserver"
	"mcp-sidecar/scenarios/pgtest"
	"mcp-sidecar/upstream/docserver"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// service is what these tests look at.
type service struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	Command     []string
	Environment map[string]string
	EnvFile     []string `yaml:"env_file"`
	Secrets     []string
	Volumes     []string
	Ports       []string
	Networks    []string
	Healthcheck struct {
		Test    []string
		Disable bool
	}
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
}

type compose struct {
	Services map[string]service
	Networks map[string]struct{ Internal bool }
	Secrets  map[string]struct{ File string }
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readCompose(t *testing.T) (c compose) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, "../compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 4 || len(c.Networks) != 4 {
		t.Fatalf("%d services, %d networks", len(c.Services), len(c.Networks))
	}
	return c
}

// Only the sidecar can be reached, on loopback; the document server and the database are
// in networks without a way in or out, and nothing but the sidecar and the database shares
// one with the document server.
func TestNetworks(t *testing.T) {
	c := readCompose(t)
	for name, s := range c.Services {
		if got, want := len(s.Ports) > 0, name == "sidecar"; got != want {
			t.Errorf("%s is published: %v", name, got)
		}
		for _, n := range s.Networks {
			if !c.Networks[n].Internal && name != "sidecar" {
				t.Errorf("%s is in %s, which is not internal", name, n)
			}
			if slices.Contains(c.Services["docserver"].Networks, n) && !slices.Contains([]string{"docserver", "sidecar", "postgres"}, name) {
				t.Errorf("%s can reach the document server through %s", name, n)
			}
		}
	}
	if got := c.Services["docserver"].Networks; !reflect.DeepEqual(got, []string{"upstream", "documents"}) {
		t.Errorf("the document server is in %q", got)
	}
	if slices.Contains(c.Services["sidecar"].Networks, "documents") {
		t.Error("the sidecar is in the network of the documents' database")
	}
	if got := c.Services["sidecar"].Ports; !reflect.DeepEqual(got, []string{"127.0.0.1:8811:8811"}) {
		t.Errorf("ports %q", got)
	}
}

// What runs has no rights that it does not need, says when it is ready, and is an image of
// a named version.
func TestServices(t *testing.T) {
	for name, s := range readCompose(t).Services {
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may gain privileges", name)
		}
		if name == "postgres" { // its image begins as root and gives that up
			// While the image makes the roles, its server answers on its socket alone.
			tcp := strings.Contains(strings.Join(s.Healthcheck.Test, " "), "pg_isready -h 127.0.0.1 ")
			if s.Image != "postgres:16-bookworm" || !tcp {
				t.Errorf("%+v", s)
			}
			continue
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s: read-only %v, drops %q", name, s.ReadOnly, s.CapDrop)
		}
		if _, err := os.Stat(filepath.Join("..", s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := readCompose(t)
	if got := c.Services["sidecar"].Healthcheck.Test; !slices.Equal(got, []string{"CMD", "/mcp-sidecar", "healthcheck"}) {
		t.Errorf("healthcheck %q", got)
	}
}

// No secret stands in the file: each is a file of a folder that git and the images leave
// out.
func TestNoSecretInTheFile(t *testing.T) {
	c := readCompose(t)
	for name, s := range c.Services {
		for key, value := range s.Environment {
			if !strings.HasSuffix(key, "_FILE") || !strings.HasPrefix(value, "/run/secrets/") {
				t.Errorf("%s: %s=%s", name, key, value)
			}
		}
		for _, f := range s.EnvFile {
			if !strings.HasPrefix(f, "deploy/secrets/") {
				t.Errorf("%s: %s", name, f)
			}
		}
		for _, secret := range s.Secrets {
			if c.Secrets[secret].File != "deploy/secrets/"+secret {
				t.Errorf("%s: the secret %s is %q", name, secret, c.Secrets[secret].File)
			}
		}
	}
	for file, line := range map[string]string{"../.gitignore": "/deploy/secrets/", "../.dockerignore": "deploy/secrets"} {
		if !slices.Contains(strings.Split(read(t, file), "\n"), line) {
			t.Errorf("%s has no line %s", file, line)
		}
	}
}

// Images are built from named versions, with this module's Go, and run as nobody.
func TestDockerfiles(t *testing.T) {
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))[1]
	files, err := filepath.Glob("*.Dockerfile")
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text := read(t, file)
		from := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(text, -1)
		if len(from) != 2 || from[0][1] != "golang:"+version+"-bookworm" {
			t.Errorf("%s: %q", file, from)
		}
		for _, f := range from {
			if _, tag, ok := strings.Cut(f[1], ":"); !ok || tag == "latest" {
				t.Errorf("%s: %s has no version", file, f[1])
			}
		}
		user := regexp.MustCompile(`(?m)^USER (\d+):(\d+)$`).FindStringSubmatch(text)
		if user == nil || user[1] == "0" || user[2] == "0" {
			t.Errorf("%s runs as %q", file, user)
		}
		build := regexp.MustCompile(`go build -trimpath -o \S+ (\./\S+)`).FindStringSubmatch(text)
		if build == nil {
			t.Fatalf("%s builds nothing", file)
		}
		if _, err := os.Stat(filepath.Join("..", build[1], "main.go")); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestConfiguration(t *testing.T) {
	cfg, err := config.Load("sidecar.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Error(problems)
	}
	target, err := url.Parse(cfg.Upstreams["docs"].URL)
	if err != nil || readCompose(t).Services[target.Hostname()].Image == "" {
		t.Errorf("no service is called %s", target.Hostname())
	}
}

// The roles and databases that the containers get: each reaches what is its own, with the
// passwords of the files, and nothing else.
func TestDatabase(t *testing.T) {
	server := pgtest.Private(t, pgserver.Options{})
	secrets := filepath.Join(t.TempDir(), "secrets")
	if out, err := exec.CommandContext(t.Context(), "sh", "secrets.sh", secrets).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if info, err := os.Stat(secrets); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	admin, err := url.Parse(server.AdminURL(pgserver.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	binaries, err := pgserver.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	password, _ := admin.User.Password()
	cmd := exec.CommandContext(t.Context(), "sh", "postgres.sh")
	cmd.Env = append(os.Environ(), "SECRETS="+secrets, "POSTGRES_USER="+pgserver.Superuser, "PGHOST="+admin.Hostname(), "PGPORT="+admin.Port(), "PGPASSWORD="+password, "PATH="+binaries+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// of is the address in a file for containers, at this server.
	of := func(name string) string {
		_, address, _ := strings.Cut(strings.TrimSpace(read(t, filepath.Join(secrets, name))), "=")
		u, err := url.Parse(address)
		if err != nil || u.Host != "postgres:5432" {
			t.Fatal(u, err)
		}
		u.Host = admin.Host
		return u.String()
	}
	open := func(address string) *policy.Postgres {
		s, err := policy.OpenPostgres(policy.PostgresOptions{URL: address})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	owner, sidecar := open(of("policy-owner.env")), open(of("sidecar.env"))
	rows := [][]string{{"p", "role:a", "document", "read", "allow"}}
	if err := owner.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Replace(t.Context(), rows, ""); err != nil {
		t.Fatal(err)
	}
	if got, err := sidecar.Rows(t.Context()); err != nil || len(got.Rows) != 1 {
		t.Errorf("the sidecar reads %v, %v", got, err)
	}
	if _, err := sidecar.Replace(t.Context(), nil, ""); err == nil {
		t.Error("the sidecar writes its policy")
	}
	documents, err := docserver.OpenPostgres(t.Context(), of("documents.env"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = documents.Close() })
	if _, err := documents.Create(t.Context(), "x", "alice"); err != nil {
		t.Error(err)
	}
	for name, database := range map[string]string{"documents.env": "policy", "sidecar.env": "documents"} {
		u, err := url.Parse(of(name))
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/" + database
		if _, err := pgtest.Connect(t, u.String()).Exec("select 1"); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s enters the database %s: %v", name, database, err)
		}
	}
	tokens, err := config.ParseStaticTokens("tokens.yaml", []byte(read(t, filepath.Join(secrets, "tokens.yaml"))))
	if err != nil || len(tokens) != 1 || tokens[0].Subject != "alice" {
		t.Errorf("%v %v", tokens, err)
	}
}
