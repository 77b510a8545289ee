package broker

import (
	"sync"
	"time"
)

// shelf keeps values for a while under secrets that it does not keep: a lookup
// compares hashes, so how long it takes says nothing about what is there.
type shelf[T any] struct {
	mu    sync.Mutex
	items map[[32]byte]item[T]
	max   int
	now   func() time.Time
}

type item[T any] struct {
	value T
	until time.Time
}

func newShelf[T any](limit int, now func() time.Time) *shelf[T] {
	return &shelf[T]{items: map[[32]byte]item[T]{}, max: limit, now: now}
}

// put keeps value for a while, unless there is no room. Nothing that is there has
// to go: whoever came first is not pushed out by a flood.
func (s *shelf[T]) put(secret string, value T, life time.Duration) bool {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) >= s.max {
		for k, i := range s.items {
			if !now.Before(i.until) {
				delete(s.items, k)
			}
		}
	}
	if len(s.items) >= s.max {
		return false
	}
	s.items[hashOf(secret)] = item[T]{value, now.Add(life)}
	return true
}

// look returns what is there.
func (s *shelf[T]) look(secret string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.items[hashOf(secret)]
	if !ok || !s.now().Before(i.until) {
		var none T
		return none, false
	}
	return i.value, true
}

// take returns what is there, once.
func (s *shelf[T]) take(secret string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := hashOf(secret)
	i, ok := s.items[key]
	delete(s.items, key)
	if !ok || !s.now().Before(i.until) {
		var none T
		return none, false
	}
	return i.value, true
}
