package sidecar

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mcp-sidecar/policy"
	"mcp-sidecar/proxy/config"
	"mcp-sidecar/scenarios/pgtest"
)

// sharedPolicy is a database with the demo's policy, whoever writes it, and the variable
// in which a sidecar's own role is told of it.
func sharedPolicy(t *testing.T) (d *pgtest.Database, writer *policy.Postgres, variable string) {
	t.Helper()
	d = pgtest.DB(t)
	writer, err := policy.OpenPostgres(policy.PostgresOptions{URL: d.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = writer.Close() })
	if err := writer.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	store(t, writer, demoPolicy)
	role, url := d.Role("sidecar")
	d.Exec("grant usage on schema sidecar to " + role)
	d.Exec("grant select on all tables in schema sidecar to " + role)
	variable = "SIDECAR_DATABASE_URL_" + strings.ToUpper(d.Name)
	if err := os.Setenv(variable, url); err != nil { // the test runs beside others
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Unsetenv(variable) })
	return d, writer, variable
}

// store puts a policy into a database.
func store(t *testing.T, s policy.Store, text string) {
	t.Helper()
	rows, err := policy.ParseRows("policy.csv", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var fields [][]string
	for _, r := range rows {
		fields = append(fields, r.Fields)
	}
	if _, err := s.Replace(t.Context(), fields, ""); err != nil {
		t.Fatal(err)
	}
}

// inDatabase is a sidecar whose policy is in the database of a variable.
func inDatabase(variable string) setup {
	return setup{inventory: demoInventory, upstream: toolsResult("", demoInventory), extra: withProbes, change: func(cfg *config.Config) {
		never := config.Duration(0)
		cfg.Policy = &config.Policy{Database: &config.Database{URLEnv: variable}, MaxAge: &never}
	}}
}

// A role that is taken away in the database is gone in every sidecar within the bound,
// five seconds, although none is restarted; and it stays away when they are.
func TestPolicyInPostgres(t *testing.T) {
	t.Parallel()
	_, writer, variable := sharedPolicy(t)
	one, two := start(t, inDatabase(variable)), start(t, inDatabase(variable))
	reads := func(r *rig, who string) string {
		t.Helper()
		r.records()
		touched := r.touched()
		g := r.do(toolCall(modern, r.token(who), "7", "read_document", `{"id":1}`))
		e := r.outcome()
		if denied := e.Outcome != "allowed"; g.status != http.StatusOK || denied != (r.touched() == touched) || e.Policy != r.revision() {
			t.Errorf("%d %+v, %d requests reached the server", g.status, e, r.touched()-touched)
		}
		return strings.TrimSpace(e.Outcome + " " + e.Reason)
	}
	for _, r := range []*rig{one, two} {
		if got := reads(r, "carol"); got != "allowed" {
			t.Errorf("at first: %s", got)
		}
	}
	began := time.Now()
	store(t, writer, strings.Replace(demoPolicy, "g, user:carol, role:viewer\n", "", 1))
	revoked, err := writer.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*rig{one, two} {
		r.eventually(func() bool { return len(r.policyRecords()) == 1 })
		if got := reads(r, "carol"); got != "not_authorized role" {
			t.Errorf("afterwards: %s", got)
		}
		if got := r.listed(legacy, "carol"); slices.Contains(got, "read_document") {
			t.Errorf("listed: %q", got)
		}
		if got := r.policyRecords(); !slices.Equal(got, []string{"changed " + revoked}) {
			t.Errorf("on record: %q", got)
		}
	}
	t.Logf("in force in both after %v", time.Since(began))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if r := start(t, inDatabase(variable)); reads(r, "carol") != "not_authorized role" {
		t.Error("a new sidecar gives the role back")
	}
	// Neither the address nor the password of the database is in anything that is said.
	for _, r := range []*rig{one, two} {
		url := os.Getenv(variable)
		if said := r.stderr.String() + r.auditText() + r.sidecar.policyLine(); strings.Contains(said, url) || strings.Contains(said, passwordOf(t, url)) {
			t.Errorf("%s", said)
		}
	}
}

// A database that takes connections and says nothing any more does not hold up the end:
// whoever waits for it would be killed before the last records are on disk.
func TestPolicyInPostgresThatHangs(t *testing.T) {
	t.Parallel()
	_, _, variable := sharedPolicy(t)
	address, err := url.Parse(os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	through := hangingTo(t, address.Host)
	address.Host = through.Addr().String()
	if err := os.Setenv(variable, address.String()); err != nil {
		t.Fatal(err)
	}
	s := inDatabase(variable)
	s.poll = 20 * time.Millisecond
	r := start(t, s)
	r.do(toolCall(modern, r.token("carol"), "7", "read_document", `{"id":1}`))
	if e := r.outcome(); e.Outcome != "allowed" {
		t.Errorf("before: %+v", e)
	}
	close(through.hang)
	<-through.swallowed
	r.do(toolCall(modern, r.token("carol"), "8", "read_document", `{"id":1}`))
	if e := r.outcome(); e.Outcome != "allowed" {
		t.Errorf("while it hangs: %+v", e)
	}
	began := time.Now()
	if err := r.sidecar.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

// hanging hands connections on, until hang is closed: then it takes what comes, and
// nothing comes back.
type hanging struct {
	net.Listener
	hang, swallowed chan struct{}
}

func hangingTo(t *testing.T, to string) *hanging {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hanging{Listener: l, hang: make(chan struct{}), swallowed: make(chan struct{})}
	swallow := sync.OnceFunc(func() { close(h.swallowed) })
	var over sync.WaitGroup
	copied := func(to, from net.Conn) {
		defer func() { _ = errors.Join(to.Close(), from.Close()) }()
		b := make([]byte, 64<<10)
		for {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			select {
			case <-h.hang:
				swallow()
			default:
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
		}
	}
	over.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			server, err := new(net.Dialer).DialContext(context.Background(), "tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			over.Go(func() { copied(c, server) })
			over.Go(func() { copied(server, c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); over.Wait() })
	return h
}

// Someone who has the name of a role has not the role.
func TestPolicyInPostgresUserNamedLikeARole(t *testing.T) {
	t.Parallel()
	d, writer, variable := sharedPolicy(t)
	for _, r := range []string{"admin", "role:admin"} {
		if err := d.Try("insert into sidecar.casbin_rule (id, ptype, v0, v1) values ('x', 'g', ?, 'role:admin')", r); err == nil && r == "admin" {
			t.Error("a member without a prefix was written")
		}
		d.Exec("delete from sidecar.casbin_rule where id = 'x'")
	}
	store(t, writer, demoPolicy)
	s := inDatabase(variable)
	s.upstream = nil
	r := start(t, s)
	r.do(toolCall(modern, r.token("admin documents:read"), "7", "read_document", `{"id":1}`))
	if e := r.outcome(); e.Outcome != "not_authorized" || e.Subject != "admin" || len(e.Roles) != 0 {
		t.Errorf("%+v", e)
	}
}

// A database that is configured and cannot be used is no reason to do without: nothing
// starts.
func TestPolicyInPostgresAtStart(t *testing.T) {
	empty, made := pgtest.DB(t), pgtest.DB(t)
	_, refused := made.Role("sidecar")
	w, err := policy.OpenPostgres(policy.PostgresOptions{URL: made.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Migrate(t.Context()), w.Close()); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		url  string
		want error
		says string
	}{
		"nobody there":      {"postgres://policy:pa55word@127.0.0.1:1/policy", policy.ErrUnavailable, "connection refused"},
		"no policy yet":     {empty.URL, policy.ErrUnavailable, "policy apply makes it"},
		"no rights":         {refused, policy.ErrUnavailable, "docs/policy.md has the grants"},
		"not set":           {"", ErrConfig, "SIDECAR_DATABASE_URL is empty or not set"},
		"no URL":            {"host=db password=pa55word", ErrConfig, "must begin with postgres://"},
		"plaintext outside": {"postgres://policy:pa55word@db.example/policy?sslmode=disable", ErrConfig, "allow_plaintext: true"},
	} {
		t.Setenv(config.EnvDatabase, row.url)
		cfg := config.Default()
		cfg.StateDir, cfg.Policy, cfg.Local = t.TempDir(), &config.Policy{Database: &config.Database{}}, true
		cfg.Audit.File = filepath.Join(cfg.StateDir, "audit.jsonl")
		cfg.Upstreams = map[string]config.Upstream{"docs": {URL: "http://127.0.0.1:1/mcp"}}
		s, err := New(cfg, Options{})
		if s != nil || !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "pa55word") || name == "no rights" && strings.Contains(err.Error(), passwordOf(t, refused))) {
			t.Errorf("%s: the error holds the password: %v", name, err)
		}
	}
}

func passwordOf(t *testing.T, address string) string {
	t.Helper()
	_, rest, _ := strings.Cut(strings.TrimPrefix(address, "postgres://"), ":")
	password, _, ok := strings.Cut(rest, "@")
	if !ok {
		t.Fatal("no password")
	}
	return password
}
