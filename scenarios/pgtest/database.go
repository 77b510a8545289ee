// Package pgtest gives tests databases of their own, on the PostgreSQL server of
// DATABASE_URL or on a private one.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-pg/pg/v10"

	"mcp-sidecar/scenarios/pgserver"
)

// Skipped begins what a test says that found no PostgreSQL. CI looks for it.
const Skipped = "SKIP-NO-POSTGRES"

// Environment that says where a server is, and that there has to be one.
const (
	urlVariable     = "DATABASE_URL"
	requireVariable = "REQUIRE_POSTGRES"
)

// Database is an empty database of one test's own.
type Database struct {
	Name string
	URL  string // with every right

	t      testing.TB
	server *url.URL // administration, database postgres
	admin  *pg.DB   // of this database
}

// shared is the private server of one test binary.
var shared struct {
	mu     sync.Mutex
	server *pgserver.Server
}

// Main runs the tests of a package and ends the server that they have shared. Call it
// from TestMain.
func Main(m *testing.M) { os.Exit(M{m}.Run()) }

// M is a [testing.M] that ends the shared server after the tests, for those who do more
// in TestMain.
type M struct{ *testing.M }

// Run runs the tests.
func (m M) Run() int {
	defer Stop()
	return m.M.Run()
}

// Stop ends the server that tests have shared.
func Stop() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server != nil {
		shared.server.Stop()
		shared.server = nil
	}
}

// DB makes a database for t, on the server of DATABASE_URL or a private one. Without
// either t is skipped, or fails where REQUIRE_POSTGRES is 1.
func DB(t testing.TB) *Database {
	t.Helper()
	d := &Database{t: t, Name: "test_" + strings.ToLower(rand.Text())}
	var err error
	if d.server, err = url.Parse(administration(t)); err != nil {
		t.Fatalf("%s is not a URL", urlVariable)
	}
	server := Connect(t, d.server.String())
	if _, err := server.Exec("create database " + d.Name); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		if _, err := server.Exec("drop database " + d.Name + " with (force)"); err != nil {
			t.Errorf("drop database: %v", err)
		}
	})
	own := *d.server
	own.Path = "/" + d.Name
	d.URL = own.String()
	d.admin = Connect(t, d.URL)
	return d
}

// NeedsBinaries is for tests of programs that start a server themselves.
func NeedsBinaries(t testing.TB) {
	t.Helper()
	if _, err := pgserver.Binaries(); err != nil {
		missing(t, err)
	}
}

// Private starts a server of t's own, to stop, to restart or to speak TLS with.
func Private(t testing.TB, o pgserver.Options) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(context.Background(), o)
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(s.Stop)
	return s
}

// administration is the URL with which databases are made.
func administration(t testing.TB) string {
	t.Helper()
	if given := os.Getenv(urlVariable); given != "" {
		return given
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.server == nil {
		s, err := pgserver.Start(context.Background(), pgserver.Options{})
		if err != nil {
			missing(t, err)
		}
		shared.server = s
	}
	return shared.server.AdminURL(pgserver.Superuser)
}

// missing skips t where there is no PostgreSQL, unless there has to be one.
func missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv(requireVariable) != "1" && errors.Is(err, pgserver.ErrNoBinaries) {
		t.Skipf("%s: %v, or a server in %s", Skipped, err, urlVariable)
	}
	t.Fatalf("PostgreSQL: %v", err)
}

// Connect is a connection of the test's own, not of what is tested.
func Connect(t testing.TB, address string) *pg.DB {
	t.Helper()
	o, err := pg.ParseURL(address)
	if err != nil {
		t.Fatal("a database URL cannot be used")
	}
	o.PoolSize, o.IdleCheckFrequency = 2, -1 // no goroutine that outlives Close
	db := pg.Connect(o)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Exec runs SQL with every right.
func (d *Database) Exec(sql string, args ...any) {
	d.t.Helper()
	if err := d.Try(sql, args...); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

// Try is Exec that may fail.
func (d *Database) Try(sql string, args ...any) error {
	_, err := d.admin.Exec(sql, args...)
	return err
}

// Count is the number that a query returns.
func (d *Database) Count(sql string, args ...any) (n int) {
	d.t.Helper()
	if _, err := d.admin.QueryOne(pg.Scan(&n), sql, args...); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// Role makes a user without rights, and returns its name and how it reaches the
// database. name is only the beginning of it: roles belong to the whole server.
func (d *Database) Role(name string) (role, address string) {
	d.t.Helper()
	role, password := name+"_"+strings.ToLower(rand.Text()), rand.Text()
	d.Exec(fmt.Sprintf("create role %s login password '%s'", role, password))
	d.t.Cleanup(func() { // before the database goes
		if err := d.Try(fmt.Sprintf("drop owned by %s cascade; drop role %s", role, role)); err != nil {
			d.t.Errorf("drop role: %v", err)
		}
	})
	u := *d.server
	u.User, u.Path = url.UserPassword(role, password), "/"+d.Name
	return role, u.String()
}

// KillConnections ends the connections of everybody else, or of those whose last
// statement begins with what is given, and returns how many there were.
func (d *Database) KillConnections(statement string) int {
	d.t.Helper()
	return d.Count("select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = ? and pid <> pg_backend_pid() and query ilike ?", d.Name, statement+"%")
}
