package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// commandAgain is how soon a command is run again whose output was refused.
const commandAgain = 10 * time.Second

// StoredOptions say where a secret of the operator's is kept: in exactly one of
// File, Value and Command.
type StoredOptions struct {
	File    string           // holds one line; read again when it changes
	Value   Secret           // does not change
	Command []string         // prints one line; run when it is needed, without a shell
	Env     Hidden[[]string] // the whole environment of Command, as NAME=value
	// MaxAge is how long what Command printed may be used. Zero means until the
	// upstream refuses it.
	MaxAge time.Duration
	// Accept is asked about each value before it is used. What it refuses is not
	// used. Nil accepts every value.
	Accept func(value string) error
	Log    *slog.Logger     // nil discards
	Now    func() time.Time // nil: time.Now
}

// Stored is a secret of the operator's that the sidecar shows to an upstream. It
// follows its file or its command without a restart, and is safe for concurrent
// use.
type Stored struct {
	opts  StoredOptions
	runs  Flights[struct{}]
	mu    sync.Mutex
	value Credential // the last that was accepted
	read  time.Time  // when it was looked for last; a command: when it was run last
	err   error      // how that failed, if it did
	said  string     // what the log knows already
}

// NewStored returns the secret that o describes. A file is read at once, so that a
// missing one is noticed; a command is run when somebody needs what it prints.
func NewStored(o StoredOptions) (*Stored, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Accept == nil {
		o.Accept = func(string) error { return nil }
	}
	s := &Stored{opts: o}
	if o.Command != nil {
		return s, nil
	}
	s.look(o.Now())
	return s, s.err
}

// Current returns what to show now. Errors wrap ErrNoCredential, or are the
// context's. It is the same for every caller.
func (s *Stored) Current(ctx context.Context, _ *Delegation) (Credential, error) {
	if s.opts.Command != nil {
		return s.printed(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.opts.Now(); s.opts.File != "" && passed(s.read, now, fileEvery) {
		s.look(now)
	}
	// A file is often written in several steps, and an old secret is better than
	// none: whether it still holds is for the upstream to say.
	return s.value, nil
}

// Renew returns what to show instead of refused, which the upstream did not take;
// false when there is nothing else.
func (s *Stored) Renew(ctx context.Context, d *Delegation, refused Credential) (Credential, bool) {
	s.mu.Lock()
	now := s.opts.Now()
	switch {
	case !s.value.Same(refused): // somebody else has renewed it
	case s.opts.File != "":
		s.look(now)
	case s.opts.Command != nil && passed(s.read, now, commandAgain):
		s.value = Credential{}
	}
	s.mu.Unlock()
	c, err := s.Current(ctx, d)
	return c, err == nil && !c.Same(refused)
}

// look reads the value or the file. s.mu is held, or nobody else knows s.
func (s *Stored) look(now time.Time) {
	value, err := s.opts.Value.Reveal(), error(nil)
	if s.opts.File != "" {
		value, err = ReadSecretFile(s.opts.File)
	}
	s.take(now, value, err)
}

// take makes value the one that is shown, if it can be used. s.mu is held, or
// nobody else knows s.
func (s *Stored) take(now time.Time, value string, err error) {
	s.read = now
	next := newCredential(value)
	if err == nil && !next.Same(s.value) {
		if err = s.opts.Accept(value); err == nil {
			s.value = next
		}
	}
	if s.err = err; err == nil {
		s.said = ""
		return
	}
	if text := err.Error(); text != s.said && !s.value.Empty() {
		s.said = text
		s.opts.Log.Error("the credential for an upstream cannot be read again; the one before stays", "error", text)
	}
}

// printed returns what the command printed last, or runs it. Whoever needs it at
// the same time waits for the same run.
func (s *Stored) printed(ctx context.Context) (Credential, error) {
	s.mu.Lock()
	c, err, ok := s.usable()
	s.mu.Unlock()
	if ok {
		return c, err
	}
	if _, err := s.runs.Do(ctx, "", func(ctx context.Context) (struct{}, error) { return struct{}{}, s.run(ctx) }); err != nil {
		return Credential{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value, nil
}

// usable says whether there is an answer without running the command: what it
// printed, or that it has just failed. s.mu is held.
func (s *Stored) usable() (Credential, error, bool) {
	now := s.opts.Now()
	switch {
	case s.err != nil:
		return Credential{}, s.err, !passed(s.read, now, retryEvery)
	case s.value.Empty(), s.opts.MaxAge > 0 && passed(s.read, now, s.opts.MaxAge):
		return Credential{}, nil, false
	}
	return s.value, nil, true
}

// run runs the command and keeps what it prints. The time counts from its start:
// one that hangs is tried again as soon as it has been given up.
func (s *Stored) run(ctx context.Context) error {
	s.mu.Lock()
	_, err, ok := s.usable()
	now := s.opts.Now()
	s.mu.Unlock()
	if ok {
		return err // somebody's run ended between the caller's question and this one
	}
	value, err := runCommand(ctx, s.opts.Command, s.opts.Env.Reveal())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value = Credential{} // it is too old, or was refused
	if s.take(now, value, err); s.err != nil {
		s.err = fmt.Errorf("%w: %w", ErrNoCredential, s.err)
	}
	return s.err
}

// maxSecret bounds what a file or a command says, in bytes.
const maxSecret = 64 << 10

// ReadSecretFile reads a file that holds one line. White space around it is
// dropped: editors add a line break that no server expects.
func ReadSecretFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	line, err := oneLine(b)
	if err != nil {
		return "", fmt.Errorf("%s %w", name, err)
	}
	return line, nil
}

func oneLine(text []byte) (string, error) {
	line := strings.TrimSpace(string(text))
	if line == "" || len(text) > maxSecret || strings.ContainsAny(line, "\r\n\x00") {
		return "", errors.New("must hold one line")
	}
	return line, nil
}
