package command

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// option looks at a value that is one.
func (f *free) option() {
	s := strings.TrimLeft(f.text, " \t\"'")
	at := len(f.text) - len(s)
	if !startsWithDash(s) {
		return
	}
	if s[0] != '-' { // as some command lines read it
		bare := strings.TrimLeftFunc(s, func(r rune) bool { return startsWithDash(string(r)) })
		long := utf8.RuneCountInString(s[:len(s)-len(bare)])
		inner := free{text: strings.Repeat("-", min(long, 2)) + bare}
		inner.option()
		if len(inner.found) > 0 {
			f.add(inner.found[0].Rule, at, len(f.text))
		}
		return
	}
	if len(s) < 2 {
		return
	}
	word, rest := cutWord(s)
	name, value, assigned := strings.Cut(strings.TrimLeft(word, "-"), "=")
	name = strings.ToLower(name)
	switch {
	case strings.HasPrefix(word, "--") && name != "":
		for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' }) {
			if slices.Contains(dangerousOptions, part) && (assigned || strings.TrimSpace(rest) != "" || part == "exec") {
				f.add(RuleOption, at, at+len(word))
				return
			}
		}
		if assigned && (strings.ContainsAny(value, "/|;`$") || strings.HasPrefix(value, "~")) && !strings.Contains(value, "://") {
			f.add(RuleOption, at, at+len(word))
		}
	case len(word) > 2 && word[1] != '-' && letter(word[1]):
		attached := word[2:]
		switch {
		case slices.Contains(dangerousShort, name), strings.HasPrefix(name, "oproxycommand"), strings.HasPrefix(name, "opermitlocalcommand"), strings.HasPrefix(name, "olocalcommand"):
			f.add(RuleOption, at, at+len(word))
		case strings.IndexByte("/|~", attached[0]) >= 0, strings.HasPrefix(attached, "./"), strings.HasPrefix(attached, "../"):
			f.add(RuleOption, at, at+len(word))
		}
	case len(word) == 2 && letter(word[1]):
		next, _ := cutWord(strings.TrimLeft(rest, " \t"))
		if next != "" && (program(next) || commands[strings.ToLower(next)] == certain && strings.IndexByte("ceIxX", word[1]) >= 0 || word[1] == 'o' && (strings.HasPrefix(strings.ToLower(next), "proxycommand") || strings.HasPrefix(next, "/"))) {
			f.add(RuleOption, at, at+len(word))
		}
	}
}

// code looks for what runs commands in a language that is not the shell's.
func (f *free) code() {
	s := strings.ToLower(f.text)
	if len(s) != len(f.text) {
		s = f.text // offsets would not fit
	}
	for _, sign := range codeSigns {
		if k := strings.Index(s, sign); k >= 0 {
			f.add(RuleCode, k, k+len(sign))
		}
	}
	for from := 0; ; {
		k := strings.IndexByte(s[from:], '(')
		if k < 0 {
			return
		}
		at := from + k
		from = at + 1
		start := at
		for start > 0 && (letter(s[start-1]) || s[start-1] == '_') {
			start--
		}
		if !slices.Contains(codeCalls, s[start:at]) {
			continue
		}
		if next := strings.TrimLeft(s[at+1:], " "); next != "" && strings.IndexByte("'\"$`_\\", next[0]) >= 0 {
			f.add(RuleCode, start, at+1)
		}
	}
}
