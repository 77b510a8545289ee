package docserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-pg/pg/v10"
)

// askTime bounds each question to the database.
const askTime = 10 * time.Second

// Postgres is a [Store] in a PostgreSQL database, in a schema "documents" of its own.
type Postgres struct {
	db     *pg.DB
	source string
}

var _ Store = (*Postgres)(nil)

// OpenPostgres connects to the database at a URL and makes its table unless it is
// there. A database that cannot be used is an error.
func OpenPostgres(ctx context.Context, source string) (*Postgres, error) {
	o, err := pg.ParseURL(source)
	if err != nil {
		return nil, errors.New("the database URL cannot be used") // the cause may quote it
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = askTime, askTime, askTime, askTime
	o.IdleCheckFrequency = -1 // its goroutine outlives Close
	p := &Postgres{db: pg.Connect(o), source: source}
	err = p.db.RunInTransaction(ctx, func(tx *pg.Tx) error {
		// Two programs that start together would both make the table.
		_, err := tx.ExecContext(ctx, `select pg_advisory_xact_lock(7237958);
			do $$ begin -- "if not exists" wants the right to make one also where it does
				if not exists (select from pg_namespace where nspname = 'documents') then create schema documents; end if;
			end $$;
			create table if not exists documents.document (
				id bigint generated always as identity primary key,
				content text not null,
				created_by text not null)`)
		return err
	})
	if err != nil {
		_ = p.db.Close()
		return nil, fmt.Errorf("the database cannot be used: %w", err)
	}
	return p, nil
}

// Close ends the connections.
func (p *Postgres) Close() error { return p.db.Close() }

// Create implements [Store].
func (p *Postgres) Create(ctx context.Context, content, createdBy string) (id int64, err error) {
	_, err = p.db.QueryOneContext(ctx, pg.Scan(&id), "insert into documents.document (content, created_by) values (?, ?) returning id", content, createdBy)
	return id, err
}

// Read implements [Store].
func (p *Postgres) Read(ctx context.Context, id int64) (Document, error) {
	d := Document{ID: id}
	_, err := p.db.QueryOneContext(ctx, pg.Scan(&d.Content, &d.CreatedBy), "select content, created_by from documents.document where id = ?", id)
	if errors.Is(err, pg.ErrNoRows) {
		return Document{}, p.missing(id)
	}
	return d, err
}

// Update implements [Store].
func (p *Postgres) Update(ctx context.Context, id int64, content string) (int64, error) {
	return p.change(ctx, id, "update documents.document set content = ?1 where id = ?0", id, content)
}

// Delete implements [Store].
func (p *Postgres) Delete(ctx context.Context, id int64) (int64, error) {
	return p.change(ctx, id, "delete from documents.document where id = ?0", id)
}

func (p *Postgres) change(ctx context.Context, id int64, sql string, args ...any) (int64, error) {
	res, err := p.db.ExecContext(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	if res.RowsAffected() == 0 {
		return 0, p.missing(id)
	}
	return int64(res.RowsAffected()), nil
}

// Reset implements [Store].
func (p *Postgres) Reset(ctx context.Context) error {
	_, err := p.db.ExecContext(ctx, "truncate documents.document restart identity")
	return err
}

func (p *Postgres) missing(id int64) error { return &MissingError{ID: id, Source: p.source} }
