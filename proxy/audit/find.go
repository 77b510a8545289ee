package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNotFound says that no record has the id.
var ErrNotFound = errors.New("no record has this id")

// Found is what the files say of one id.
type Found struct {
	File    string
	Outcome *Event // nil while the call runs, or after the process died in it
	Intent  *Event // of destructive calls
	Below   int    // records of messages that the server started on the call's stream
}

// maxLine bounds a line that is read, in bytes. Records are far shorter.
const maxLine = 1 << 20

// Find looks for the records of one call in the file at path and in those that it was
// rotated into (path followed by a dot or a hyphen and something), the newest first. It
// holds one line at a time and skips what is no record.
func Find(path, id string) (Found, error) {
	files, err := siblings(path)
	if err != nil {
		return Found{}, err
	}
	var all Found
	for _, name := range files {
		found, err := findIn(name, id)
		if err != nil {
			return Found{}, err
		}
		// A rotation may have come between the two records.
		all.File = cmp.Or(all.File, found.File)
		all.Outcome, all.Intent = cmp.Or(all.Outcome, found.Outcome), cmp.Or(all.Intent, found.Intent)
		all.Below += found.Below
		if all.Outcome != nil {
			return all, nil
		}
	}
	if all.Intent == nil {
		return Found{}, ErrNotFound
	}
	return all, nil
}

// siblings are the file and those that it was rotated into, the newest first.
func siblings(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("audit file: %w", err)
	}
	type file struct {
		name string
		at   int64
	}
	var files []file
	base := filepath.Base(path)
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), base)
		info, err := e.Info()
		if !ok || err != nil || !info.Mode().IsRegular() || rest != "" && rest[0] != '.' && rest[0] != '-' || strings.HasSuffix(rest, ".gz") {
			continue
		}
		files = append(files, file{filepath.Join(filepath.Dir(path), e.Name()), info.ModTime().UnixNano()})
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Or(cmp.Compare(b.at, a.at), strings.Compare(a.name, b.name)) })
	if len(files) == 0 {
		return nil, fmt.Errorf("audit file: %w", &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist})
	}
	var names []string
	for _, f := range files {
		names = append(names, f.name)
	}
	return names, nil
}

func findIn(name, id string) (Found, error) {
	f, err := os.Open(name)
	if err != nil {
		return Found{}, fmt.Errorf("audit file: %w", err)
	}
	defer f.Close()
	var found Found
	for r := bufio.NewReaderSize(f, maxLine); ; {
		line, err := r.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			line = nil // nothing that this package has written
			_, err = r.ReadSlice('\n')
		}
		if bytes.Contains(line, []byte(id)) { // decoding every line would take minutes in a large file
			found.take(name, line, id)
		}
		switch {
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return Found{}, fmt.Errorf("audit file: %w", err)
		}
	}
}

// take keeps a line if it is a record of the call's.
func (f *Found) take(name string, line []byte, id string) {
	var e Event
	if json.Unmarshal(line, &e) != nil {
		return
	}
	switch {
	case e.Parent == id:
		f.Below++
	case e.ID != id:
	case e.Phase == PhaseIntent:
		f.File, f.Intent = name, &e
	case e.Phase == PhaseOutcome:
		f.File, f.Outcome = name, &e
	}
}
