package docserver

import (
	"context"
	"fmt"
	"sync"
)

// Document is one stored text.
type Document struct {
	ID        int64
	Content   string
	CreatedBy string // whatever the creator said
}

// Store keeps documents. IDs start at 1, count upwards and are not used twice
// until Reset. Reading or changing a document that is not there fails with a
// [*MissingError]. Implementations are safe for concurrent use and pass the
// contract test in store_test.go.
type Store interface {
	// Create stores a new document and returns its ID.
	Create(ctx context.Context, content, createdBy string) (int64, error)
	// Read returns the document id.
	Read(ctx context.Context, id int64) (Document, error)
	// Update replaces a document's content and returns the number of rows changed.
	Update(ctx context.Context, id int64, content string) (int64, error)
	// Delete removes a document and returns the number of rows removed.
	Delete(ctx context.Context, id int64) (int64, error)
	// Reset removes everything; the next ID is 1 again.
	Reset(ctx context.Context) error
}

// MissingError says that a store has no document ID.
type MissingError struct {
	ID     int64
	Source string // data source name of the store
}

// Error names the data source.
func (e *MissingError) Error() string {
	// INTENDED HOLE: the data source name holds the database password, and the
	// text goes to the caller (CWE-209).
	return fmt.Sprintf("no document id=%d in %s", e.ID, e.Source)
}

// memorySource is what [Memory] calls itself: its errors leak the same kind of
// secret that a database's would.
const memorySource = "postgres://docs:n4ive@db:5432/documents"

// Memory is a [Store] that lives as long as its process.
type Memory struct {
	mu   sync.Mutex
	last int64
	docs map[int64]Document
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{docs: map[int64]Document{}}
}

// Create implements [Store]; it never fails.
func (m *Memory) Create(_ context.Context, content, createdBy string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	m.docs[m.last] = Document{ID: m.last, Content: content, CreatedBy: createdBy}
	return m.last, nil
}

// Read implements [Store].
func (m *Memory) Read(_ context.Context, id int64) (Document, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(id)
}

// Update implements [Store].
func (m *Memory) Update(_ context.Context, id int64, content string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.get(id)
	if err != nil {
		return 0, err
	}
	d.Content = content
	m.docs[id] = d
	return 1, nil
}

// Delete implements [Store].
func (m *Memory) Delete(_ context.Context, id int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.get(id); err != nil {
		return 0, err
	}
	delete(m.docs, id)
	return 1, nil
}

// Reset implements [Store]; it never fails.
func (m *Memory) Reset(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = 0
	clear(m.docs)
	return nil
}

// get is called with the lock held.
func (m *Memory) get(id int64) (Document, error) {
	d, ok := m.docs[id]
	if !ok {
		return Document{}, &MissingError{ID: id, Source: memorySource}
	}
	return d, nil
}
