package policy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var someRows = [][]string{{"p", "role:a", "x", "read", "allow"}, {"g", "user:b", "role:a"}, {"g2", "docs/x", "x"}}

// storeContract is what every store keeps. open returns a store whose source holds no
// rows yet; a second one of the same source is another writer.
func storeContract(t *testing.T, open func(t *testing.T) (a, b Store)) {
	ctx := context.Background()
	fieldsOf := func(t *testing.T, s Store) [][]string {
		t.Helper()
		got, err := s.Rows(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if revision, err := s.Revision(ctx); err != nil || revision != got.Revision || revision == "" || got.Name != s.Name() {
			t.Errorf("%+v, revision %q, %v", got, revision, err)
		}
		var rows [][]string
		for _, r := range got.Rows {
			rows = append(rows, r.Fields)
		}
		return rows
	}
	put := func(t *testing.T, s Store, rows [][]string, from string) string {
		t.Helper()
		revision, err := s.Replace(ctx, rows, from)
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	t.Run("what is put is there, for everybody", func(t *testing.T) {
		a, b := open(t)
		revision := put(t, a, someRows, "")
		if got := fieldsOf(t, b); !reflect.DeepEqual(got, someRows) {
			t.Errorf("%q", got)
		}
		if now, _ := b.Revision(ctx); now != revision {
			t.Errorf("%q, want %q", now, revision)
		}
	})
	t.Run("all of it is replaced", func(t *testing.T) {
		a, b := open(t)
		first := put(t, a, someRows, "")
		second := put(t, b, someRows[:1], first)
		if got := fieldsOf(t, a); !reflect.DeepEqual(got, someRows[:1]) || second == first {
			t.Errorf("%q, %q after %q", got, second, first)
		}
		put(t, a, nil, second)
		if got := fieldsOf(t, a); got != nil {
			t.Errorf("%q", got)
		}
	})
	t.Run("another writer was faster", func(t *testing.T) {
		a, b := open(t)
		first := put(t, a, someRows, "")
		put(t, b, someRows[:2], first)
		if _, err := a.Replace(ctx, someRows[:1], first); !errors.Is(err, ErrChanged) {
			t.Errorf("%v", err)
		}
		if got := fieldsOf(t, a); !reflect.DeepEqual(got, someRows[:2]) {
			t.Errorf("%q", got)
		}
	})
	t.Run("of many writers one wins", func(t *testing.T) {
		a, b := open(t)
		first := put(t, a, someRows, "")
		var wait sync.WaitGroup
		won := make(chan int, 16)
		for i := range 16 {
			s := a
			if i%2 == 1 {
				s = b
			}
			wait.Go(func() {
				rows := [][]string{{"p", "role:a", "x", strings.Repeat("w", i+1), "allow"}}
				switch _, err := s.Replace(ctx, rows, first); {
				case err == nil:
					won <- i
				case !errors.Is(err, ErrChanged):
					t.Error(err)
				}
			})
		}
		wait.Wait()
		close(won)
		if len(won) != 1 {
			t.Fatalf("%d writers won", len(won))
		}
		if got := fieldsOf(t, a); len(got) != 1 || len(got[0][3]) != <-won+1 {
			t.Errorf("%q", got)
		}
	})
	t.Run("what is no row changes nothing", func(t *testing.T) {
		a, _ := open(t)
		put(t, a, someRows, "")
		for _, bad := range [][]string{
			nil, {}, {"p"}, {"p", "admin", "x", "read", "allow"}, {"p", "role:a", "x,y", "read", "allow"}, {"p", "role:a", "x", "read", "Deny"}, {"p", "role:a", "srv/*_read", "call", "allow"},
			{"g", "user:a\n", "role:a"}, {"g", " user:a", "role:a"}, {"g2", "a", "b/c"}, {"p2", "a", "b", "c"}, {"p", "role:a", "x", ""}, {"# p", "role:a", "x", "read"}, {"g", "user:\"a", "role:a"},
		} {
			var problems Problems
			if _, err := a.Replace(ctx, slices.Concat(someRows, [][]string{bad}), ""); !errors.As(err, &problems) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		if got := fieldsOf(t, a); !reflect.DeepEqual(got, someRows) {
			t.Errorf("%q", got)
		}
	})
	t.Run("nobody waits for ever", func(t *testing.T) {
		a, _ := open(t)
		if err := a.Wait(ctx, time.Millisecond); err != nil {
			t.Error(err)
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		if err := a.Wait(over, time.Hour); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestFileStore(t *testing.T) {
	storeContract(t, func(t *testing.T) (Store, Store) {
		path := filepath.Join(t.TempDir(), "policy.csv")
		if err := os.WriteFile(path, nil, 0o640); err != nil {
			t.Fatal(err)
		}
		return NewFile(path), NewFile(path)
	})
}

// What is special about a file.
func TestFileReplace(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target.csv"), filepath.Join(dir, "link.csv")
	if err := os.WriteFile(target, []byte("# nothing\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := NewFile(link).Replace(ctx, someRows, ""); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v %v", info, err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", info, err)
	}
	if _, err := LoadFile(link, nil); err != nil {
		t.Error(err)
	}
	fresh := NewFile(filepath.Join(dir, "fresh.csv"))
	if _, err := fresh.Rows(ctx); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := fresh.Replace(ctx, someRows, "0123456789ab"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := fresh.Replace(ctx, someRows, ""); err != nil {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(target+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewFile(link).Replace(ctx, someRows[:1], ""); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "target.csv.lock") {
		t.Errorf("%v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 4 { // target, its lock, link, fresh
		t.Errorf("left behind: %q", left)
	}
	if _, err := NewFile(filepath.Join(dir, "none", "p.csv")).Replace(ctx, someRows, ""); err == nil {
		t.Error("no folder, no file")
	}
	if err := os.WriteFile(target, []byte("p, admin, x, y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var problems Problems
	if _, err := NewFile(target).Rows(ctx); !errors.As(err, &problems) {
		t.Errorf("%v", err)
	}
	if revision, err := NewFile(target).Revision(ctx); err != nil || revision == "" {
		t.Errorf("a bad policy has a revision too: %q, %v", revision, err)
	}
}

// A file is asked again when the time is over, and not before.
func TestFileWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := NewFile("x").Wait(t.Context(), 2*time.Second); err != nil || time.Since(began) != 2*time.Second {
			t.Error(err, time.Since(began))
		}
	})
}
