package policy

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	pgadapter "github.com/casbin/casbin-pg-adapter"
	"github.com/go-pg/pg/v10"
	"github.com/mmcloughlin/meow"
)

// Names in the database. The schema is the policy's own, so that no other program's
// role has a right in it that it was not given.
const (
	policyTable   = "sidecar.casbin_rule"
	policyChannel = "sidecar_policy"
	migrationLock = 0x6d63702d73696465 // of all who migrate: "mcp-side"
	insertRows    = 5_000              // in one statement
)

//go:embed migrations/*.sql
var migrations embed.FS

// PostgresOptions say where a policy is kept.
type PostgresOptions struct {
	URL            string // a secret: it holds the password
	AllowPlaintext bool   // to another host
	InsecureTLS    bool   // TLS that does not verify who answers
}

// Format keeps the password out of whatever prints the options.
func (PostgresOptions) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// MarshalJSON does the same for JSON.
func (PostgresOptions) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// Postgres is a policy in a PostgreSQL database, which several sidecars share. Rows have
// the format of casbin-pg-adapter; its reading and writing are not used (see
// docs/decisions/0016-policy-sources.md).
type Postgres struct {
	db      *pg.DB
	closing sync.Once

	mu       sync.Mutex
	listener *pg.Listener // nil while there is none
}

var _ Store = (*Postgres)(nil)

// OpenPostgres returns the store of a database, without asking it anything. The error
// wraps [ErrDSN].
func OpenPostgres(o PostgresOptions) (*Postgres, error) {
	options, err := connectOptions(o)
	if err != nil {
		return nil, err
	}
	// Operators and functions are PostgreSQL's own, whoever else may make some.
	options.OnConnect = func(ctx context.Context, c *pg.Conn) error {
		_, err := c.ExecContext(ctx, "set search_path to ''")
		return err
	}
	quiet()
	return &Postgres{db: pg.Connect(options)}, nil
}

// quiet keeps go-pg from writing to stderr, in lines of its own: what fails is returned
// as well.
var quiet = sync.OnceFunc(func() { pg.SetLogger(silent{}) })

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Format prints the name alone: what is below holds the password.
func (s *Postgres) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.Name()) }

// Name implements [Store].
func (s *Postgres) Name() string { return "postgres" }

// Close implements [Store]. Whoever waits for an answer of the database waits no longer.
func (s *Postgres) Close() (err error) {
	s.closing.Do(func() {
		err = s.db.Close() // first: deafen waits for who is about to listen
		s.deafen(nil)
	})
	return err
}

// The count, and what tells apart two states that have the same.
const selectRevision = "select revision || '-' || left(state::text, 8) from sidecar.policy_revision"

// Revision implements [Store].
func (s *Postgres) Revision(ctx context.Context) (revision string, err error) {
	_, err = s.db.QueryOneContext(ctx, pg.Scan(&revision), selectRevision)
	return revision, unavailable(err)
}

// stored is a row as it is in the table.
type stored struct {
	tableName struct{} `pg:"sidecar.casbin_rule,alias:rule"` //nolint:unused // read by go-pg
	Seq       int
	Ptype     string
	V0        string
	V1        string
	V2        string
	V3        string
	V4        string
	V5        string
}

// fields leaves out the columns that the type does not use. A permission always has its
// effect: without one it would be read as one that allows.
func (r *stored) fields() []string {
	all := []string{r.Ptype, r.V0, r.V1, r.V2, r.V3, r.V4, r.V5}
	least := 1
	if r.Ptype == "p" {
		least = 5
	}
	for len(all) > least && all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// Rows implements [Store]. Rows and revision are of one snapshot of the database.
func (s *Postgres) Rows(ctx context.Context) (Rows, error) {
	rows := Rows{Name: s.Name()}
	var table []stored
	err := s.db.RunInTransaction(ctx, func(tx *pg.Tx) error {
		if _, err := tx.ExecContext(ctx, "set transaction isolation level repeatable read, read only"); err != nil {
			return err
		}
		if _, err := tx.QueryOneContext(ctx, pg.Scan(&rows.Revision), selectRevision); err != nil {
			return err
		}
		return tx.ModelContext(ctx, &table).Order("seq").Limit(MaxRows + 1).Select()
	})
	if err != nil {
		return Rows{}, unavailable(err)
	}
	var problems Problems
	for i := range table {
		fields := table[i].fields()
		if _, texts := parseRow(slices.Clone(fields)); len(texts) > 0 {
			for _, text := range texts {
				problems.add(Problem{File: rows.Name, Line: table[i].Seq, Text: text})
			}
			continue
		}
		rows.Rows = append(rows.Rows, Row{Fields: fields, Line: table[i].Seq})
	}
	if len(problems) > 0 {
		return rows, problems
	}
	return rows, nil
}

// Replace implements [Store]. Writers wait for each other.
func (s *Postgres) Replace(ctx context.Context, rows [][]string, from string) (revision string, err error) {
	table, err := tableOf(s.Name(), rows)
	if err != nil {
		return "", err
	}
	err = s.db.RunInTransaction(ctx, func(tx *pg.Tx) error {
		var now string
		if _, err := tx.QueryOneContext(ctx, pg.Scan(&now), selectRevision+" for update"); err != nil {
			return err
		}
		if from != "" && now != from {
			return ErrChanged
		}
		if _, err := tx.ExecContext(ctx, "delete from "+policyTable); err != nil {
			return err
		}
		for some := range slices.Chunk(table, insertRows) {
			if _, err := tx.ModelContext(ctx, &some).Table(policyTable).Insert(); err != nil {
				return err
			}
		}
		_, err := tx.QueryOneContext(ctx, pg.Scan(&revision), selectRevision)
		return err
	})
	if errors.Is(err, ErrChanged) {
		return "", err
	}
	return revision, unavailable(err)
}

// tableOf checks rows, and gives them the adapter's form and ids.
func tableOf(name string, rows [][]string) ([]pgadapter.CasbinRule, error) {
	if _, err := encodeRows(name, rows); err != nil {
		return nil, err
	}
	var table []pgadapter.CasbinRule
	known := map[string]bool{}
	for _, fields := range rows {
		r, _ := parseRow(fields) // with the effect filled in
		if known[r.String()] {
			continue
		}
		known[r.String()] = true
		cols := append(slices.Clone(r.cols), make([]string, 6-len(r.cols))...)
		table = append(table, pgadapter.CasbinRule{
			ID: ruleID(r), Ptype: r.kind, V0: cols[0], V1: cols[1], V2: cols[2], V3: cols[3], V4: cols[4], V5: cols[5],
		})
	}
	return table, nil
}

// Wait implements [Store]. It listens to the trigger of the table.
func (s *Postgres) Wait(ctx context.Context, atMost time.Duration) error {
	listener, err := s.listen(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return unavailable(err)
	}
	interrupted := context.AfterFunc(ctx, func() { s.deafen(listener) })
	defer interrupted()
	_, _, err = listener.ReceiveTimeout(ctx, atMost)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return nil
	}
	return unavailable(err) // the listener dials and listens again with the next call
}

// listen returns the connection on which changes are told.
func (s *Postgres) listen(ctx context.Context) (*pg.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return s.listener, nil
	}
	l := s.db.Listen(ctx)
	if err := l.Listen(ctx, policyChannel); err != nil {
		_ = l.Close()
		return nil, err
	}
	s.listener = l
	return l, nil
}

// deafen closes the connection on which changes are told, if it is still that one; nil
// is whichever.
func (s *Postgres) deafen(l *pg.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil && (l == nil || l == s.listener) {
		_ = s.listener.Close()
		s.listener = nil
	}
}

// Migrate makes the schema and brings it up to date. It needs the right to create it;
// only who writes policies calls it, never a sidecar that serves. Several may call it
// at the same time.
func (s *Postgres) Migrate(ctx context.Context) error {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	if foreign, err := s.foreign(ctx); err != nil || foreign {
		return unavailable(cmp.Or(err, errForeign))
	}
	if done, err := version(ctx, s.db); err == nil && done == len(files) {
		return nil // whoever writes rows need not be able to make tables
	}
	return unavailable(s.db.RunInTransaction(ctx, func(tx *pg.Tx) error {
		if _, err := tx.ExecContext(ctx, "select pg_advisory_xact_lock(?)", migrationLock); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `create schema if not exists sidecar;
			create table if not exists sidecar.migration (version int primary key, at timestamptz not null default now())`); err != nil {
			return err
		}
		done, err := version(ctx, tx)
		if err != nil {
			return err
		}
		if done > len(files) {
			return errNewer
		}
		for i, f := range files[done:] {
			text, err := migrations.ReadFile("migrations/" + f.Name())
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, string(text)); err != nil {
				return fmt.Errorf("%s: %w", f.Name(), err)
			}
			if _, err := tx.ExecContext(ctx, "insert into sidecar.migration (version) values (?)", done+i+1); err != nil {
				return err
			}
		}
		return nil
	}))
}

// ruleID is the adapter's id of a row, so that whoever writes with the adapter alone
// can remove it: the adapter deletes by id. Nothing here goes by it.
func ruleID(r row) string {
	return fmt.Sprintf("%x", meow.Checksum(0, []byte(strings.Join(append([]string{r.kind}, r.cols...), ","))))
}

var (
	errNewer   = errors.New("the database was migrated by a newer mcp-sidecar")
	errForeign = errors.New("the schema sidecar is another role's, which could change the policy: drop it, or apply the policy as that role")
)

// foreign says whether somebody else was faster in making the schema than this role,
// which may make one too. Whoever may not has to take it as it is.
func (s *Postgres) foreign(ctx context.Context) (foreign bool, err error) {
	_, err = s.db.QueryOneContext(ctx, pg.Scan(&foreign), `select exists (select from pg_namespace where nspname = 'sidecar'
		and has_database_privilege(current_database(), 'create') and not pg_has_role(nspowner, 'usage'))`)
	return foreign, err
}

func version(ctx context.Context, db interface {
	QueryOneContext(ctx context.Context, model, query any, params ...any) (pg.Result, error)
}) (n int, err error) {
	_, err = db.QueryOneContext(ctx, pg.Scan(&n), "select coalesce(max(version), 0) from sidecar.migration")
	return n, err
}

// unavailable says of a failure of the database what to do about it. It keeps nothing
// of the connection's address.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	hint := ""
	var refused pg.Error
	switch {
	case errors.As(err, &refused):
		switch code := refused.Field('C'); {
		case code == "42P01" || code == "3F000":
			hint = " (there is no policy in this database yet: mcp-sidecar policy apply makes it)"
		case code == "42501":
			hint = " (its role lacks a right; docs/policy.md has the grants)"
		case strings.HasPrefix(code, "28"):
			hint = " (user or password)"
		case code == "3D000":
			hint = " (there is no such database)"
		}
	case errors.Is(err, io.EOF):
		hint = " (the connection was closed)"
	}
	return fmt.Errorf("%w: postgres: %w%s", ErrUnavailable, err, hint)
}
