package identity

import (
	"context"
	"sync"
	"time"
)

// Bounds of what is kept of tokens that were issued.
const (
	maxIssued      = 4096
	maxIssuedToOne = 16 // tokens for one caller, who may log in anew as often as he likes
)

// issuedTokens keeps what a token endpoint issued, by what it was issued for.
// Whoever needs the same at the same time waits for the same question.
type issuedTokens struct {
	now     func() time.Time
	flights Flights[Credential]

	mu    sync.Mutex
	known map[digest]*holding
	of    map[string][]digest // keys of known by owner, the oldest first
}

// holding is a token, or why there was none.
type holding struct {
	issued
	err   error
	asked time.Time
	owner string
}

// get returns the token for key, or asks for it. Owner is whose it is.
func (t *issuedTokens) get(ctx context.Context, key digest, owner string, ask func(context.Context) (issued, error)) (Credential, error) {
	if c, err, ok := t.recall(key); ok {
		return c, err
	}
	return t.flights.Do(ctx, string(key[:]), func(ctx context.Context) (Credential, error) {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		if c, err, ok := t.recall(key); ok {
			return c, err // somebody's question ended between the caller's look and this one
		}
		h := &holding{asked: t.now(), owner: owner}
		h.issued, h.err = ask(ctx)
		t.keep(key, h)
		return h.credential, h.err
	})
}

// recall answers from what is at hand: a token that still holds, or that there has
// just been none.
func (t *issuedTokens) recall(key digest) (Credential, error, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, now := t.known[key], t.now()
	switch {
	case h == nil:
		return Credential{}, nil, false
	case h.err != nil:
		return Credential{}, h.err, !passed(h.asked, now, retryEvery)
	}
	return h.credential, nil, now.Before(h.until)
}

// renew is get for whoever was refused with a token: it asks anew unless somebody
// else has, or has a moment ago. False means that there is no other.
func (t *issuedTokens) renew(ctx context.Context, key digest, owner string, refused Credential, ask func(context.Context) (issued, error)) (Credential, bool) {
	t.mu.Lock()
	if h := t.known[key]; h != nil && h.err == nil && h.credential.Same(refused) {
		if !passed(h.asked, t.now(), retryEvery) {
			t.mu.Unlock()
			return Credential{}, false
		}
		t.drop(key)
	}
	t.mu.Unlock()
	c, err := t.get(ctx, key, owner, ask)
	return c, err == nil && !c.Same(refused)
}

// keep remembers h. A caller with many tokens loses the oldest of his own; when
// nothing is left that is over, what is new is not taken in: nobody can make it
// forget others.
func (t *issuedTokens) keep(key digest, h *holding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(key)
	if own := t.of[h.owner]; len(own) >= maxIssuedToOne {
		t.drop(own[0])
	}
	if len(t.known) >= maxIssued {
		t.sweep()
	}
	if len(t.known) >= maxIssued {
		return
	}
	if t.known == nil {
		t.known, t.of = map[digest]*holding{}, map[string][]digest{}
	}
	t.known[key] = h
	t.of[h.owner] = append(t.of[h.owner], key)
}

// drop forgets key. t.mu is held.
func (t *issuedTokens) drop(key digest) {
	h := t.known[key]
	if h == nil {
		return
	}
	delete(t.known, key)
	own := t.of[h.owner]
	for i := range own {
		if own[i] == key {
			t.of[h.owner] = append(own[:i:i], own[i+1:]...)
			break
		}
	}
	if len(t.of[h.owner]) == 0 {
		delete(t.of, h.owner)
	}
}

// sweep forgets what is over. t.mu is held.
func (t *issuedTokens) sweep() {
	now := t.now()
	for key, h := range t.known {
		if h.err != nil && passed(h.asked, now, retryEvery) || h.err == nil && !now.Before(h.until) {
			t.drop(key)
		}
	}
}
