package policy

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// File is a policy in a file of rows.
type File struct{ path string }

var _ Store = (*File)(nil)

// NewFile returns the store of the file at path, which need not be there before
// somebody reads it.
func NewFile(path string) *File { return &File{path: path} }

// Name implements [Store].
func (f *File) Name() string { return f.path }

// Revision implements [Store]: it is a hash of the content.
func (f *File) Revision(ctx context.Context) (string, error) {
	src, err := f.read(ctx)
	if err != nil {
		return "", err
	}
	return revision(src), nil
}

// Rows implements [Store].
func (f *File) Rows(ctx context.Context) (Rows, error) {
	src, err := f.read(ctx)
	if err != nil {
		return Rows{}, err
	}
	rows, err := ParseRows(f.path, src)
	return Rows{Name: f.path, Revision: revision(src), Rows: rows}, err
}

// read takes the whole file in, or one byte more than is accepted.
func (f *File) read(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("opening policy: %w", err)
	}
	defer file.Close()
	src, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading policy %q: %w", f.path, err)
	}
	return src, nil
}

// Replace implements [Store]. The rows are written beside the file and take its name
// once they are on the disk, so that nobody reads half of them; comments are not kept.
// Writers keep each other out by a lock file beside it. A link stays one.
func (f *File) Replace(ctx context.Context, rows [][]string, from string) (string, error) {
	text, err := encodeRows(f.path, rows)
	if err != nil {
		return "", err
	}
	path, err := filepath.EvalSymlinks(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		path, err = f.path, nil
	}
	if err != nil {
		return "", fmt.Errorf("policy file: %w", err)
	}
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if from != "" {
		now, err := f.Revision(ctx)
		if err != nil {
			return "", err
		}
		if now != from {
			return "", ErrChanged
		}
	}
	if err := replaceFile(path, text); err != nil {
		return "", fmt.Errorf("policy file: %w", err)
	}
	return revision(text), nil
}

// encodeRows writes rows that [Load] reads back as they are.
func encodeRows(name string, rows [][]string) ([]byte, error) {
	var problems Problems
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	for _, fields := range rows {
		if len(fields) == 0 {
			problems.add(Problem{File: name, Text: "a row is empty"})
			continue
		}
		_, texts := parseRow(fields)
		for _, text := range texts {
			problems.add(Problem{File: name, Text: text})
		}
		if err := w.Write(fields); err != nil {
			return nil, err
		}
	}
	w.Flush()
	if b.Len() > MaxBytes || len(rows) > MaxRows {
		problems.add(Problem{File: name, Text: "the policy is larger than is accepted"})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return b.Bytes(), w.Error()
}

// lockFile keeps other writers out until unlock.
func lockFile(path string) (unlock func(), err error) {
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w, or one has died: then remove %s", ErrChanged, path)
	}
	if err != nil {
		return nil, fmt.Errorf("policy file: %w", err)
	}
	return func() {
		_ = lock.Close()
		_ = os.Remove(path)
	}, nil
}

// replaceFile gives text the name path, with the mode of what had it.
func replaceFile(path string, text []byte) (err error) {
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.Write(text)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// Wait implements [Store]: nothing tells of changes, so time does.
func (f *File) Wait(ctx context.Context, atMost time.Duration) error {
	t := time.NewTimer(atMost)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// Close implements [Store].
func (f *File) Close() error { return nil }
