// Package corpus reads labelled texts. They are no part of the project.
package corpus

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Item is one labelled text.
type Item struct {
	ID, Source, Family string
	Attack             bool
	Text               string
	Part               string   // the injected part alone, where it is known
	Secrets            []string // that must be gone from the redacted text
	NeedsDNS           bool     // nobody can judge it without asking
}

// maxLine bounds a line of a corpus, in bytes.
const maxLine = 8 << 20

// Read returns the items of a kind from a folder with a file of JSON lines for each.
func Read(dir, kind string) ([]Item, error) {
	name := kind
	data, err := os.ReadFile(filepath.Join(dir, name+".jsonl"))
	if err != nil {
		return nil, err
	}
	var items []Item
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		i, err := parse(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s.jsonl:%d: %w", name, n, err)
		}
		items = append(items, i)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s.jsonl: %w", name, err)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%s.jsonl has no line", name)
	}
	return items, nil
}

func parse(line []byte) (Item, error) {
	var l struct {
		ID, Source, Family string
		Label              *int
		Text, Attack       string
		TextB64            string   `json:"text_b64"`
		SecretsB64         []string `json:"secrets_b64"`
		NeedsDNS           bool     `json:"needs_dns"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return Item{}, err
	}
	if l.ID == "" || l.Source == "" || l.Label == nil {
		return Item{}, errors.New("id, source or label is missing")
	}
	i := Item{ID: l.ID, Source: l.Source, Family: l.Family, Attack: *l.Label == 1, Text: l.Text, Part: l.Attack, NeedsDNS: l.NeedsDNS}
	if l.TextB64 != "" {
		text, err := base64.StdEncoding.DecodeString(l.TextB64)
		if err != nil {
			return Item{}, err
		}
		i.Text = string(text)
	}
	for _, s := range l.SecretsB64 {
		secret, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return Item{}, err
		}
		i.Secrets = append(i.Secrets, string(secret))
	}
	return i, nil
}
