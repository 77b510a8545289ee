package docserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"mcp-sidecar/upstream/docserver"
)

func TestMemory(t *testing.T) {
	testStore(t, func(*testing.T) docserver.Store { return docserver.NewMemory() })
}

// testStore is the contract that every store keeps. open returns an empty one.
func testStore(t *testing.T, open func(*testing.T) docserver.Store) {
	rows := []struct {
		name string
		test func(*testing.T, docserver.Store)
	}{
		{"ids count from 1", storeCounts},
		{"ids are not used twice", storeNeverReuses},
		{"documents come back as stored", storeKeeps},
		{"update replaces the content only", storeUpdates},
		{"missing documents are named", storeMisses},
		{"reset starts over", storeResets},
		{"concurrent creates get ids of their own", storeConcurrent},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { row.test(t, open(t)) })
	}
}

func mustCreate(t *testing.T, s docserver.Store, content, createdBy string) int64 {
	t.Helper()
	id, err := s.Create(t.Context(), content, createdBy)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wantDocument(t *testing.T, s docserver.Store, want docserver.Document) {
	t.Helper()
	got, err := s.Read(t.Context(), want.ID)
	if err != nil || got != want {
		t.Errorf("read %+v, %v, want %+v", got, err, want)
	}
}

func wantMissing(t *testing.T, err error, id int64) {
	t.Helper()
	var missing *docserver.MissingError
	if !errors.As(err, &missing) || missing.ID != id {
		t.Fatalf("error %v, want a MissingError for id %d", err, id)
	}
	if start := fmt.Sprintf("no document id=%d in postgres", id); !strings.HasPrefix(err.Error(), start) {
		t.Errorf("error %q, want %q and the rest of the data source name", err, start)
	}
}

func storeCounts(t *testing.T, s docserver.Store) {
	for want := int64(1); want <= 3; want++ {
		if id := mustCreate(t, s, "x", "alice"); id != want {
			t.Errorf("id %d, want %d", id, want)
		}
	}
}

func storeNeverReuses(t *testing.T, s docserver.Store) {
	id := mustCreate(t, s, "x", "alice")
	if _, err := s.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if next := mustCreate(t, s, "y", "alice"); next != id+1 {
		t.Errorf("id %d after %d was deleted", next, id)
	}
}

func storeKeeps(t *testing.T, s docserver.Store) {
	for _, content := range []string{"", "plain", "two\nlines\n", "'; DROP TABLE documents; --", "größer ≠ 🙂"} {
		id := mustCreate(t, s, content, "o'hara")
		wantDocument(t, s, docserver.Document{ID: id, Content: content, CreatedBy: "o'hara"})
	}
}

func storeUpdates(t *testing.T, s docserver.Store) {
	first, second := mustCreate(t, s, "a", "alice"), mustCreate(t, s, "b", "bob")
	if rows, err := s.Update(t.Context(), first, "c"); rows != 1 || err != nil {
		t.Errorf("updated %d, %v", rows, err)
	}
	wantDocument(t, s, docserver.Document{ID: first, Content: "c", CreatedBy: "alice"})
	wantDocument(t, s, docserver.Document{ID: second, Content: "b", CreatedBy: "bob"})
}

func storeMisses(t *testing.T, s docserver.Store) {
	kept, gone := mustCreate(t, s, "kept", "alice"), mustCreate(t, s, "gone", "alice")
	if rows, err := s.Delete(t.Context(), gone); rows != 1 || err != nil {
		t.Fatalf("deleted %d, %v", rows, err)
	}
	for _, id := range []int64{gone, 0, -1, 99} {
		_, err := s.Read(t.Context(), id)
		wantMissing(t, err, id)
		_, err = s.Update(t.Context(), id, "x")
		wantMissing(t, err, id)
		_, err = s.Delete(t.Context(), id)
		wantMissing(t, err, id)
	}
	wantDocument(t, s, docserver.Document{ID: kept, Content: "kept", CreatedBy: "alice"})
}

func storeResets(t *testing.T, s docserver.Store) {
	mustCreate(t, s, "a", "alice")
	mustCreate(t, s, "b", "alice")
	if err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := s.Read(t.Context(), 2)
	wantMissing(t, err, 2)
	if id := mustCreate(t, s, "c", "alice"); id != 1 {
		t.Errorf("id %d after reset", id)
	}
}

func storeConcurrent(t *testing.T, s docserver.Store) {
	const n = 32
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := map[int64]bool{}
	for range n {
		wg.Go(func() {
			id, err := s.Create(context.WithoutCancel(t.Context()), "x", "alice")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[id] = true
		})
	}
	wg.Wait()
	if len(seen) != n || !seen[1] || !seen[n] {
		t.Errorf("%d distinct ids of %d", len(seen), n)
	}
}
