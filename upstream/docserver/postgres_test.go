package docserver_test

import (
	"strings"
	"testing"

	"mcp-sidecar/scenarios/pgtest"
	"mcp-sidecar/upstream/docserver"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func openPostgres(t *testing.T, url string) *docserver.Postgres {
	t.Helper()
	s, err := docserver.OpenPostgres(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestPostgres(t *testing.T) {
	testStore(t, func(t *testing.T) docserver.Store { return openPostgres(t, pgtest.DB(t).URL) })
}

// Documents are there after a restart, and with every program that has the same database.
func TestPostgresLasts(t *testing.T) {
	d := pgtest.DB(t)
	first := openPostgres(t, d.URL)
	id := mustCreate(t, first, "kept", "alice")
	want := docserver.Document{ID: id, Content: "kept", CreatedBy: "alice"}
	wantDocument(t, openPostgres(t, d.URL), want)
	_ = first.Close()
	wantDocument(t, openPostgres(t, d.URL), want)
}

// The role of the documents can do everything with documents, and neither read nor write
// the policy that the sidecar keeps in the same database.
func TestPostgresRoleSeesNoPolicy(t *testing.T) {
	d := pgtest.DB(t)
	d.Exec("create schema sidecar; create table sidecar.casbin_rule (id text)")
	role, url := d.Role("documents")
	d.Exec("create schema documents authorization " + role)
	s := openPostgres(t, url)
	mustCreate(t, s, "x", "alice")
	if err := s.Reset(t.Context()); err != nil {
		t.Error(err)
	}
	as := pgtest.Connect(t, url)
	for _, sql := range []string{"select * from sidecar.casbin_rule", "insert into sidecar.casbin_rule values ('x')", "drop table sidecar.casbin_rule"} {
		if _, err := as.Exec(sql); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// A database that cannot be used is an error, which holds no password.
func TestPostgresUnusable(t *testing.T) {
	for _, url := range []string{"postgres://docs:n4ive@127.0.0.1:1/documents?sslmode=disable", "mysql://docs:n4ive@127.0.0.1/documents", "postgres://docs:n4ive@127.0.0.1/documents?sslmode=nonsense"} {
		if s, err := docserver.OpenPostgres(t.Context(), url); err == nil || s != nil || strings.Contains(err.Error(), "n4ive") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
