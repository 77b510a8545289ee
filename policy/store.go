package policy

import (
	"context"
	"errors"
	"time"
)

// Row is one row of a policy as its source has it.
type Row struct {
	Fields []string // the first is the type: p, g or g2
	Line   int      // from 1; 0 where the source has no lines
}

// Rows are one consistent state of a source.
type Rows struct {
	Name     string // of the source, as in messages
	Revision string
	Rows     []Row
}

// Store is where the rows of a policy are kept. It is safe for concurrent use.
type Store interface {
	// Name is for messages and rules: a path, or "postgres"; never a secret.
	Name() string
	// Revision says cheaply in which state the source is.
	Revision(ctx context.Context) (string, error)
	// Rows reads one state. The error is [Problems] where the source cannot be read as
	// rows; then the revision is there all the same.
	Rows(ctx context.Context) (Rows, error)
	// Replace puts rows in the place of all that are there, at once or not at all, and
	// returns the new revision. from is the revision that it replaces: ErrChanged when
	// it is no longer that; empty replaces whatever is there.
	Replace(ctx context.Context, rows [][]string, from string) (revision string, err error)
	// Wait returns nil when something may have changed, and after atMost. An error says
	// that the way of being told is broken.
	Wait(ctx context.Context, atMost time.Duration) error
	// Close ends what the store holds.
	Close() error
}

var (
	// ErrChanged says that another writer was faster.
	ErrChanged = errors.New("the policy has been changed by another writer")
	// ErrUnavailable says that the source is down.
	ErrUnavailable = errors.New("the policy source is unavailable")
)
