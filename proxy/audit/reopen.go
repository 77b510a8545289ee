package audit

import "errors"

// errLost says that a record was written to a file that could not be brought to
// the disk.
var errLost = errors.New("audit record is not on disk: the file before could not be synced")

// Reopen goes on with the file that is now at the writer's path, a new one if
// there is none, and closes the file before once all of it is on disk: this is
// how a file that has been moved away is rotated without losing a record. After
// an error the writer goes on as it was.
//
// A writer that is broken is whole again afterwards: what it could not bring to
// the disk was reported to whoever waited for it.
func (w *Writer) Reopen() error {
	f, err := openFile(w.path)
	if err != nil {
		return err
	}
	w.syncMu.Lock()
	defer w.syncMu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = f.Close()
		return ErrClosed
	}
	if w.broken != nil {
		w.lost = w.written
	} else if err := w.file.Sync(); err != nil {
		w.broken = err
		_ = f.Close()
		return err
	}
	old := w.file
	w.file, w.broken, w.torn, w.synced = f, nil, false, w.written
	return old.Close()
}
