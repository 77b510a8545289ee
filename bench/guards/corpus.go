package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mcp-sidecar/proxy/scan"
)

// item is one labelled text.
type item struct {
	id, source, family string
	attack             bool
	text               string
	secrets            []string // that must be gone from the redacted text
	needsDNS           bool     // nobody can judge it without asking
}

// maxLine bounds a line of a corpus, in bytes.
const maxLine = 8 << 20

// corpus reads the items of a kind from a folder of JSON lines.
func corpus(dir, kind string) ([]item, error) {
	name := kind
	data, err := os.ReadFile(filepath.Join(dir, name+".jsonl"))
	if err != nil {
		return nil, err
	}
	var items []item
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

func parse(line []byte) (item, error) {
	var l struct {
		ID, Source, Family string
		Label              *int
		Text               string
		TextB64            string   `json:"text_b64"`
		SecretsB64         []string `json:"secrets_b64"`
		NeedsDNS           bool     `json:"needs_dns"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return item{}, err
	}
	if l.ID == "" || l.Source == "" || l.Label == nil {
		return item{}, errors.New("id, source or label is missing")
	}
	i := item{id: l.ID, source: l.Source, family: l.Family, attack: *l.Label == 1, text: l.Text, needsDNS: l.NeedsDNS}
	if l.TextB64 != "" {
		text, err := base64.StdEncoding.DecodeString(l.TextB64)
		if err != nil {
			return item{}, err
		}
		i.text = string(text)
	}
	for _, s := range l.SecretsB64 {
		secret, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return item{}, err
		}
		i.secrets = append(i.secrets, string(secret))
	}
	return i, nil
}

// detector says of a text what scan says.
type detector func(text string) scan.Verdict

func sidecar(kind string) detector {
	return func(text string) scan.Verdict {
		v, err := scan.Judge(kind, text)
		if err != nil {
			panic(err) // the kinds are those of the same package
		}
		return v
	}
}
