// Package audit writes what was decided, one JSON line a record.
//
// The audit file is evidence, not a log: it has its own format ([Event], whose
// version is the field "v"), its own writer, and a record is written before its
// caller may go on. A record never holds a token, an argument
// value or a secret; whatever text a client chose passes a redactor first.
package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Version is the format version of a record.
const Version = 1

// Phases of a record.
const (
	PhaseIntent  = "intent"  // written before a destructive call is forwarded
	PhaseOutcome = "outcome" // written once per message, when it is decided
)

// Event is one audit record. Zero fields are left out.
type Event struct {
	V         int       `json:"v"`
	Time      time.Time `json:"ts"`
	ID        string    `json:"audit_id"` // UUIDv7, the one that refusals name
	Phase     string    `json:"phase"`
	Parent    string    `json:"parent_id,omitempty"` // the call on whose stream an upstream-started message came
	Direction string    `json:"direction"`           // "client" or "upstream": who started the message
	Transport string    `json:"transport,omitempty"`
	Upstream  string    `json:"upstream,omitempty"`
	Version   string    `json:"mcp_version,omitempty"`
	Kind      string    `json:"kind,omitempty"` // request, notification, response, session-end, session-stream
	Method    string    `json:"mcp_method,omitempty"`
	Name      string    `json:"mcp_name,omitempty"` // tool, redacted and cut

	Issuer   string   `json:"iss,omitempty"`
	Subject  string   `json:"sub,omitempty"`
	ClientID string   `json:"client_id,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	Roles    []string `json:"roles,omitempty"`

	Object string   `json:"object,omitempty"`        // what the policy was asked about, redacted and cut: "document"
	Action string   `json:"action,omitempty"`        // the act on it, redacted and cut: "delete"
	Needed []string `json:"scopes_needed,omitempty"` // every scope that it takes, as configured

	Redirect string `json:"redirect_host,omitempty"` // where a client of the broker is answered

	Stage    string   `json:"stage"`
	Outcome  string   `json:"outcome,omitempty"`
	Code     int      `json:"code,omitempty"`   // JSON-RPC error code that the client reads
	Reason   string   `json:"reason,omitempty"` // fixed words: "scope", "role", "body-size"
	Guard    string   `json:"guard,omitempty"`
	Rule     string   `json:"rule,omitempty"`        // guard rule, or the policy row that decided
	Findings []string `json:"findings,omitempty"`    // labels, never the matched text
	Would    []string `json:"would_have,omitempty"`  // what an observed check would have refused or changed
	Excepted []string `json:"excepted,omitempty"`    // rules that an exception of the configuration let be, and that had found something: "ssrf/port"
	Allow    string   `json:"allow,omitempty"`       // the exception that would let be what was blocked
	Policy   string   `json:"policy_rev,omitempty"`  // revision of the policy that decided
	Error    string   `json:"error,omitempty"`       // internal cause, redacted and cut
	BytesIn  int      `json:"bytes_in,omitempty"`    // request body
	BytesOut int      `json:"bytes_out,omitempty"`   // all messages towards the client
	Events   int      `json:"events,omitempty"`      // messages before the terminal one
	Dropped  int      `json:"dropped,omitempty"`     // messages of the upstream that were not passed on
	Millis   float64  `json:"ms"`                    // from arrival to decision
	Waited   float64  `json:"upstream_ms,omitempty"` // spent waiting for the upstream
}

// maxText bounds a text that somebody else chose, in bytes.
const maxText = 128

// syncDelay is how long a record may wait for the disk when its caller does not.
const syncDelay = time.Second

// ErrClosed says that the writer has been closed.
var ErrClosed = errors.New("audit writer is closed")

// Options configure a Writer.
type Options struct {
	// Redact removes secrets from texts that a client or an upstream chose. Nil
	// drops those texts altogether.
	Redact func(string) string
	// Copy receives each line as well, after the file has it. Its errors are
	// ignored: the file is the record.
	Copy io.Writer
	// SyncAll makes every record wait for the disk. Without it only intents do:
	// other records are with the operating system when Record returns, so that
	// they survive the death of this process, and on disk within a second.
	SyncAll bool
}

// Writer appends records to a file. Concurrent records that wait for the disk
// share an fsync (group commit).
type Writer struct {
	opts Options
	path string

	mu      sync.Mutex // writing
	file    *os.File   // replaced with syncMu held too
	written int64      // bytes this writer has written
	torn    bool       // the last write left part of a line
	later   bool       // an fsync is due
	broken  error      // what made the file unusable
	closed  bool

	syncMu sync.Mutex // waiting for the disk; never taken while mu is held
	synced int64      // of the bytes written, how many are known to be on disk
	lost   int64      // of the bytes written, how many went to a file that broke
}

// Open opens or creates the audit file at path, readable by its owner only, and
// the folders above it. A line that an earlier crash cut short is closed off, so
// that it spoils no later record. Several sidecars may share a file: every record
// is appended in one piece.
func Open(path string, opts Options) (*Writer, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	return &Writer{opts: opts, path: path, file: f}, nil
}

func openFile(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("audit folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit file: %w", err)
	}
	if err := closeTornLine(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("audit file: %w", err)
	}
	return f, nil
}

func closeTornLine(f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		_, err = f.Write([]byte{'\n'})
	}
	return err
}

// Record returns when e is written, and on disk where its caller has to wait for
// that. An error means that it may not be: the caller must not let the call
// succeed. It does not depend on a context, since a client that goes away does
// not undo what was decided.
func (w *Writer) Record(e Event) error {
	line, err := w.encode(e)
	if err != nil {
		return err
	}
	end, err := w.append(line)
	if err != nil {
		return err
	}
	if w.opts.SyncAll || e.Phase == PhaseIntent {
		return w.syncTo(end)
	}
	return nil
}

func (w *Writer) encode(e Event) ([]byte, error) {
	e.V = Version
	for _, s := range []*string{&e.Name, &e.Method, &e.Object, &e.Action, &e.Error, &e.Subject, &e.ClientID, &e.Version, &e.Redirect} {
		*s = w.clean(*s)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode audit record: %w", err)
	}
	return append(line, '\n'), nil
}

func (w *Writer) clean(s string) string {
	if s == "" {
		return ""
	}
	if w.opts.Redact == nil {
		return "[withheld]"
	}
	// Redact before cutting: half a secret would no longer be recognised.
	s = w.opts.Redact(s)
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return s
}

// append writes line and returns where it ends.
func (w *Writer) append(line []byte) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return 0, ErrClosed
	case w.broken != nil:
		return 0, w.broken
	}
	if w.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.file.Write(line)
	w.written += int64(n)
	if err != nil {
		// A full disk leaves part of a line, which the next record closes off.
		// Nothing is cut: another sidecar may be writing to the same file.
		w.torn = w.torn || n > 0
		return 0, fmt.Errorf("write audit record: %w", err)
	}
	w.torn = false
	if !w.later && !w.opts.SyncAll {
		w.later = true
		time.AfterFunc(syncDelay, w.syncLater)
	}
	if w.opts.Copy != nil {
		_, _ = w.opts.Copy.Write(line)
	}
	return w.written, nil
}

func (w *Writer) syncLater() {
	w.mu.Lock()
	w.later = false
	end, closed := w.written, w.closed
	w.mu.Unlock()
	if !closed {
		_ = w.syncTo(end) // a failure stops the next record
	}
}

// syncTo returns when the first end bytes that were written are on disk. Whoever comes first syncs
// for all who wait.
func (w *Writer) syncTo(end int64) error {
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	switch {
	case 0 < end && end <= w.lost:
		return errLost
	case w.synced >= end:
		return nil
	}
	w.mu.Lock()
	reached, broken := w.written, w.broken
	w.mu.Unlock()
	if broken != nil {
		return broken
	}
	if err := w.file.Sync(); err != nil {
		// What a failed fsync has lost, no later one brings back.
		err = fmt.Errorf("sync audit file: %w", err)
		w.mu.Lock()
		w.broken = err
		w.mu.Unlock()
		return err
	}
	w.synced = reached
	return nil
}

// Close brings what was written to the disk and closes the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	end := w.written
	w.mu.Unlock()
	err := w.syncTo(end)
	return errors.Join(err, w.file.Close())
}
